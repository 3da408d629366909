"""GET /v1/me."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.accounts.principal import names_of
from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.errors import RESPONSES
from tramontane.api.platform import platform_of, principal_of
from tramontane.api.schemas.conversations import Me

router = APIRouter(route_class=AuthenticatedRoute, tags=["account"], responses=RESPONSES)


@router.get("/v1/me")
async def get_me(request: Request) -> Me:
    """Who asks, and in which workspace."""
    principal = principal_of(request)
    async with platform_of(request).database.read() as session:
        user, workspace = await names_of(session, principal)
    return Me(
        user_id=principal.user_id,
        user_name=user,
        workspace_id=principal.workspace_id,
        workspace_name=workspace,
        role=principal.role,
    )
