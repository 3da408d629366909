"""The pages: signing in by link and by an identity provider, the web app, and the API's description."""

from __future__ import annotations

import logging
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tramontane.accounts.identities import sign_in_by_identity
from tramontane.accounts.installation import installation_salt
from tramontane.accounts.oidc import LASTS, IdentityProvider, OidcError
from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.sessions import end_session
from tramontane.accounts.sign_in import redeem_link
from tramontane.api.auditing import address_of, note
from tramontane.api.authentication import AuthenticatedRoute, session_cookie, set_session
from tramontane.api.links import link_to
from tramontane.api.platform import Platform, platform_of, principal_of
from tramontane.api.sign_in import give_free_quota
from tramontane.web import files

logger = logging.getLogger(__name__)

router = APIRouter(include_in_schema=False)
signed_in_router = APIRouter(route_class=AuthenticatedRoute, include_in_schema=False)

_CALLBACK = "/sign-in/oidc/callback"
_NOT_BUILT = "The web app is not built: run `make web`.\n"


@router.get("/")
@router.get("/c/{conversation_id}")
@router.get("/library")
@router.get("/models")
@router.get("/shared/{token}")
@router.get("/join/{token}")
@router.get("/register")
@router.get("/console")
@router.get("/console/{page}")
@router.get("/console/{page}/{item:path}")
async def index(request: Request) -> Response:
    """The web app; what it shows it asks the API for, with the session's cookie."""
    page = files.app_index(_accepted(request))
    return PlainTextResponse(_NOT_BUILT, status_code=503) if page is None else _send(page)


@router.get("/docs")
async def docs() -> Response:
    """A readable form of /openapi.json."""
    return _send(files.document("docs.html"))


@router.get("/assets/{name}")
async def asset(request: Request, name: str) -> Response:
    """What the pages load."""
    file = files.asset(name, _accepted(request))
    return Response(status_code=404) if file is None else _send(file)


@router.get("/sign-in")
async def sign_in(request: Request, token: str = "") -> Response:
    """Opens a browser session by a link that works once."""
    opened = await redeem_link(platform_of(request).database, token, address_of(request))
    if opened is None:
        return RedirectResponse("/?link=spent", status_code=303)
    response = RedirectResponse("/", status_code=303)
    set_session(request, response, opened.token)
    return response


@router.get("/sign-in/oidc")
async def begin_oidc(request: Request, invitation: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """Sends the browser to the identity provider.

    With an invitation only from a page of ours, or an address that somebody typed: whoever is sent here by another site
    sees first what the invitation is to.
    """
    if invitation is not None and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return RedirectResponse(f"/join/{quote(invitation, safe='')}", status_code=303)
    platform = platform_of(request)
    try:
        provider = _identity_provider(platform)
        async with platform.database.read() as session:
            salt = await installation_salt(session)
        begun = await provider.begin(salt, link_to(request, _CALLBACK), invitation)
    except OidcError as error:
        return _oidc_failed(request, error)
    response = RedirectResponse(begun.url, status_code=302)
    response.set_cookie(
        _oidc_cookie(request),
        begun.cookie.reveal(),
        max_age=LASTS,
        path=_CALLBACK,
        httponly=True,
        samesite="lax",  # it has to come along when the provider sends the browser back
        secure=request.url.scheme == "https",
    )
    return response


@router.get(_CALLBACK)
async def finish_oidc(request: Request) -> Response:
    """Opens a browser session for who comes back from the identity provider."""
    platform = platform_of(request)
    try:
        provider = _identity_provider(platform)
        async with platform.database.read() as session:
            salt = await installation_salt(session)
        cookie = request.cookies.get(_oidc_cookie(request), "")
        identity, invitation = await provider.finish(salt, cookie, request.query_params)
        async with platform.database.write() as session:
            signed_in = await sign_in_by_identity(session, identity, invitation, address_of(request))
            if signed_in.registered:
                platform.sign_ins.admit_stranger(address_of(request))
                await give_free_quota(session, signed_in.opened.organisation_id)
    except OidcError as error:
        return _oidc_failed(request, error)
    response = RedirectResponse("/", status_code=302)
    response.delete_cookie(_oidc_cookie(request), path=_CALLBACK)
    set_session(request, response, signed_in.opened.token)
    return response


@signed_in_router.post("/sign-out")
async def leave(request: Request) -> Response:
    """Ends the browser session."""
    platform, principal = platform_of(request), principal_of(request)
    if principal.credential == "session":
        async with platform.database.write() as session:
            await lock_organisation(session, principal.organisation_id)
            await end_session(session, principal.user_id, principal.credential_id)
            await note(request, session, "session.end", "session", principal.credential_id)
        platform.authenticator.forget(principal.credential_id)
    response = Response(status_code=204)
    response.delete_cookie(session_cookie(request))
    return response


def _identity_provider(platform: Platform) -> IdentityProvider:
    if platform.identity_provider is None:
        raise OidcError("No identity provider is set up: set TRAMONTANE_OIDC_ISSUER and its companions.", "unknown")
    return platform.identity_provider


def _oidc_failed(request: Request, error: OidcError) -> Response:
    logger.warning("a sign-in by the identity provider failed: %s", error)
    response = RedirectResponse(f"/?sign-in=failed&reason={error.reason}", status_code=302)
    response.delete_cookie(_oidc_cookie(request), path=_CALLBACK)
    return response


def _oidc_cookie(request: Request) -> str:
    return f"{session_cookie(request)}_oidc"


def _accepted(request: Request) -> str:
    return request.headers.get("accept-encoding", "")


def _send(file: files.WebFile) -> Response:
    return Response(file.content, media_type=file.media_type, headers=file.headers)
