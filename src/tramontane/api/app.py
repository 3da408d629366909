"""The HTTP application: its routes, and in which order what surrounds them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

import tramontane
from tramontane.api import (
    audit,
    billing,
    browser_sessions,
    budgets,
    catalogue,
    chat,
    completions,
    conversations,
    deployments,
    documents,
    embeddings,
    fim,
    health,
    keys,
    limits,
    me,
    members,
    models,
    offerings,
    openapi,
    organisations,
    pages,
    presets,
    providers,
    responses,
    routing,
    settings,
    shares,
    sign_in,
    statements,
    tokens,
    usage,
    workspaces,
)
from tramontane.api.errors import install_error_handlers
from tramontane.api.middleware import BodyLimitMiddleware, ExchangeMiddleware
from tramontane.api.platform import Platform

_PAGES = frozenset(
    {
        "/",
        "/c/{conversation_id}",
        "/library",
        "/models",
        "/shared/{token}",
        "/join/{token}",
        "/register",
        "/console",
        "/console/{page}",
        "/console/{page}/{item:path}",
        "/docs",
        "/assets/{name}",
    }
)

OPEN_ROUTES = _PAGES | {
    "/health",
    "/ready",
    "/sign-in",
    "/sign-in/oidc",
    "/sign-in/oidc/callback",
    "/v1/shared/{token}",
    "/v1/sign-in",
    "/v1/sign-in/options",
    "/v1/register",
    "/v1/join/{token}",
}
"""What answers without a credential; a test holds every other route to the contrary."""

ROUTERS = (
    chat.router,
    fim.router,
    completions.router,
    embeddings.router,
    models.router,
    responses.router,
    tokens.router,
    me.router,
    conversations.router,
    shares.router,
    shares.open_router,
    documents.router,
    presets.router,
    sign_in.open_router,
    organisations.router,
    workspaces.router,
    members.router,
    keys.router,
    browser_sessions.router,
    audit.router,
    settings.router,
    catalogue.router,
    providers.router,
    offerings.router,
    deployments.router,
    routing.router,
    usage.router,
    billing.router,
    statements.router,
    budgets.router,
    limits.router,
    health.open_router,
    health.router,
    openapi.router,
    pages.router,
    pages.signed_in_router,
)


def create_app(platform: Platform) -> ASGIApp:
    """The application for one platform, whose rooms the caller opens and closes."""
    return ExchangeMiddleware(BodyLimitMiddleware(create_routes(platform)), platform)


def create_routes(platform: Platform) -> FastAPI:
    """The routes alone, with their error handlers."""
    options: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None, "redirect_slashes": False}
    options["strict_content_type"] = False  # a body is JSON whatever curl calls it; cookies are guarded by the origin
    options["generate_unique_id_function"] = lambda route: route.name  # what clients are generated from
    app = FastAPI(title="Tramontane", version=tramontane.__version__, **options)
    app.state.platform = platform
    install_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    return app
