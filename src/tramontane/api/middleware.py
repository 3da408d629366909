"""Around every route, as plain ASGI so that streams pass untouched: the request's record, its limits, its headers."""

from __future__ import annotations

import logging
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tramontane.api.errors import error_response, max_body_bytes, too_large_response
from tramontane.api.logs import correlation_id, log_request
from tramontane.api.platform import Platform
from tramontane.gateway.exchange import Exchange

logger = logging.getLogger(__name__)

CORRELATION_HEADER = "mistral-correlation-id"

# Probes that come every few seconds are counted, and leave no line in the log.
_QUIET_ROUTES = ("/health", "/ready", "/metrics")

# Pages load what this server serves, and nothing else; no other site may frame them. Nor does text become HTML in them:
# only the templates of the web app's own components do, by the policy that Svelte gives this name.
_SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class ExchangeMiddleware:
    """Opens a record for each request, and when it has ended, however it has, logs and counts it."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app, self._platform = app, platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(uuid.uuid4().hex)
        scope.setdefault("state", {})["exchange"] = exchange
        correlation_id.set(exchange.id)
        status = 499  # until an answer begins

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers[CORRELATION_HEADER] = exchange.id
                for name, value in (exchange.headers | _SECURITY_HEADERS).items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            if self._platform.draining and scope["path"] not in _QUIET_ROUTES:
                exchange.route = "(ending)"  # no route was looked for
                await _refuse_to_begin(exchange.id)(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception as error:
            # The client has its answer already, or the beginning of one: this is for whoever runs the server.
            exchange.failure = type(error).__name__
            logger.exception("a request failed")
        finally:
            self._record(exchange, scope, status)

    def _record(self, exchange: Exchange, scope: Scope, status: int) -> None:
        route = getattr(scope.get("route"), "path", None)
        exchange.route = route or exchange.route or "(no such route)"
        seconds = time.perf_counter() - exchange.started
        self._platform.metrics.record(exchange, status, seconds)
        if route not in _QUIET_ROUTES:
            log_request(exchange, scope["method"], status, seconds)


def _refuse_to_begin(exchange_id: str) -> ASGIApp:
    headers = {"retry-after": "5", "connection": "close"}
    return error_response(503, "The server is ending; try again soon.", "draining", exchange_id, headers=headers)


class BodyLimitMiddleware:
    """Refuses a body over its path's limit: at once where its length is announced, else when it has grown too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = max_body_bytes(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            await self._too_large(scope)(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413)  # which the framework passes on to the error handlers
            return message

        await self._app(scope, receive_counted, send)

    def _too_large(self, scope: Scope) -> ASGIApp:
        exchange: Exchange = scope["state"]["exchange"]
        return too_large_response(scope["path"], exchange.id)
