"""The pages: signing in by link, and until there is a chat, which models there are and how to call them."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tramontane.accounts.sign_in import redeem_link, sign_out
from tramontane.api.authentication import AuthenticatedRoute, session_cookie
from tramontane.api.platform import platform_of, principal_of

router = APIRouter(include_in_schema=False)
signed_in_router = APIRouter(route_class=AuthenticatedRoute, include_in_schema=False)

_SESSION_SECONDS = 30 * 24 * 3600
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Named one by one: nothing else of the package can be asked for.
_ASSETS = ("page.css", "page.js", "docs.js", "icon.svg")


@router.get("/")
async def index() -> Response:
    """The page; what it shows it asks the API for, with the session's cookie."""
    return _asset("index.html")


@router.get("/docs")
async def docs() -> Response:
    """A readable form of /openapi.json."""
    return _asset("docs.html")


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """Static files of the pages."""
    return _asset(name) if name in _ASSETS else Response(status_code=404)


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


def _asset(name: str) -> Response:
    content = resources.files("tramontane.web").joinpath(name).read_bytes()
    kind = _MEDIA_TYPES["." + name.rpartition(".")[2]]
    return Response(content, media_type=kind, headers={"cache-control": "no-cache"})
