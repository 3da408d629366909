"""Who asks: one extractor for all routes, before anything of a body is read.

A Bearer key, or the cookie of a browser session. A browser sends its cookie also with requests that other sites make it
send, so with the cookie only same-origin requests may change anything.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from tramontane.accounts import permissions
from tramontane.accounts.permissions import Permission
from tramontane.accounts.principal import Principal
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sessions import SESSION_LASTS
from tramontane.api.errors import ForbiddenError, UnauthorizedError
from tramontane.api.platform import exchange_of, platform_of, principal_of
from tramontane.api.scopes import check_scopes
from tramontane.errors import NotAllowedError

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class AuthenticatedRoute(APIRoute):
    """A route that nobody reaches without a credential. Routes without one are listed in `app.OPEN_ROUTES`."""

    def get_route_handler(self) -> Handler:
        """The handler, behind the extractor."""
        handle, path = super().get_route_handler(), self.path

        async def authenticated(request: Request) -> Response:
            principal = await authenticate(request)
            request.scope["state"]["principal"] = principal
            exchange = exchange_of(request)
            exchange.workspace_id, exchange.credential = principal.workspace_id, principal.credential_name
            check_scopes(principal, request.method, path)
            return await handle(_as_json(request))

        return authenticated


def _as_json(request: Request) -> Request:
    """A body is JSON whatever the client calls it: `curl -d` calls it a form, and without a name it is taken as JSON.

    That lets no other site in: with a cookie only same-origin requests have come so far.
    """
    named = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
    return Request({**request.scope, "headers": named}, request.receive)


async def authenticate(request: Request) -> Principal:
    """Raises UnauthorizedError, or ForbiddenError for what another site made a browser send."""
    authenticator = platform_of(request).authenticator
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, key = header.partition(" ")
        principal = await authenticator.by_key(key.strip()) if scheme.lower() == "bearer" else None
    else:
        principal = await browser_principal(request)
        if principal is not None and request.method not in _SAFE_METHODS:
            require_same_origin(request)
    if principal is None:
        raise UnauthorizedError("Unauthorized")
    return principal


async def browser_principal(request: Request) -> Principal | None:
    """Who is signed in with the browser that sends the request; for open routes, which somebody may ask as anybody."""
    token = request.cookies.get(session_cookie(request))
    return await platform_of(request).authenticator.by_session(token) if token else None


def require_same_origin(request: Request) -> None:
    """Raises ForbiddenError for what another site made a browser send. Also of routes that set a cookie."""
    if not _is_same_origin(request):
        raise ForbiddenError("This request comes from another site: with a browser's cookie it changes nothing.")


def require(request: Request, permission: Permission) -> Principal:
    """Who asks, and may; raises NotAllowedError."""
    principal = principal_of(request)
    permissions.require(principal, permission)
    return principal


def require_browser(request: Request) -> Principal:
    """Who asks, by a browser's session; raises NotAllowedError for a key, which may have been given to a program."""
    principal = principal_of(request)
    if principal.credential != "session":
        raise NotAllowedError("Only who is signed in with a browser may do this, not a key.")
    return principal


def set_session(request: Request, response: Response, token: Secret) -> None:
    """Signs the browser in."""
    # Not `secure`: on loopback there is no TLS. Behind a proxy that speaks it, the scheme is known.
    response.set_cookie(
        session_cookie(request),
        token.reveal(),
        max_age=int(SESSION_LASTS.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def session_cookie(request: Request) -> str:
    """The cookie's name. Browsers send cookies to every port of a host: the port in it keeps servers apart."""
    return f"tramontane_session_{request.scope['server'][1]}"


def _is_same_origin(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    return origin.partition("://")[2] == request.headers.get("host") != ""
