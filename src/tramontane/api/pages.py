"""The pages: signing in by link, the web app, and the API's description."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tramontane.accounts.sign_in import redeem_link, sign_out
from tramontane.api.authentication import AuthenticatedRoute, session_cookie
from tramontane.api.platform import platform_of, principal_of
from tramontane.web import files

router = APIRouter(include_in_schema=False)
signed_in_router = APIRouter(route_class=AuthenticatedRoute, include_in_schema=False)

_SESSION_SECONDS = 30 * 24 * 3600
_NOT_BUILT = "The web app is not built: run `make web`.\n"


@router.get("/")
@router.get("/c/{conversation_id}")
@router.get("/library")
@router.get("/models")
@router.get("/shared/{token}")
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
    session = await redeem_link(platform_of(request).database, token)
    if session is None:
        return RedirectResponse("/?link=spent", status_code=303)
    response = RedirectResponse("/", status_code=303)
    # Not `secure`: on loopback there is no TLS. Behind a proxy that speaks it, the scheme is known.
    response.set_cookie(
        session_cookie(request),
        session.reveal(),
        max_age=_SESSION_SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@signed_in_router.post("/sign-out")
async def leave(request: Request) -> Response:
    """Ends the browser session."""
    platform = platform_of(request)
    if principal_of(request).credential == "session":
        ended = await sign_out(platform.database, request.cookies[session_cookie(request)])
        if ended is not None:
            platform.authenticator.forget(ended)
    response = Response(status_code=204)
    response.delete_cookie(session_cookie(request))
    return response


def _accepted(request: Request) -> str:
    return request.headers.get("accept-encoding", "")


def _send(file: files.WebFile) -> Response:
    return Response(file.content, media_type=file.media_type, headers=file.headers)
