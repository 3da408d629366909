"""The error model, in one place: every refusal has the shape that la Plateforme's and OpenAI's clients read.

400, 404, 413, 429, 5xx   {"object": "error", "message": …, "type": …, "param": …, "code": …}
422                       the same, with the fields' places under message.detail
401                       {"detail": "Unauthorized"}

All carry the correlation id, which also stands in the header and in the server's log.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tramontane.api.platform import exchange_of, platform_of
from tramontane.api.schemas.common import ErrorBody, InvalidFields, Unauthorized
from tramontane.conversations.errors import (
    BusyError,
    DocumentError,
    NoRoomError,
    NotFoundError,
    NothingToContinueError,
    TooManyDocumentsError,
)
from tramontane.errors import (
    ConflictError,
    InvalidRequestError,
    MessageOrderError,
    MissingError,
    ModelNotReadyError,
    NotAllowedError,
    PaymentRequiredError,
    QueueFullError,
    RateLimitedError,
    TramontaneError,
    UnavailableError,
    UnknownModelError,
)

# Codes are strings: an integer makes some clients show an empty message.
_INVALID_MODEL, _MESSAGE_ORDER, _FUNCTION_CALL = "1500", "3230", "3280"
_RATE_LIMITED, _INTERNAL = "1300", "3000"
_OF_A_FUNCTION_CALL = re.compile(r"messages\.\d+\.(tool_calls|tool_call_id)")

_MOST_ENTRIES = 20  # of a 422: who sent more wrong fields finds the next ones when these are right

INTERNAL_MESSAGE = "The server failed to answer this request; its log tells why, under the request's id."

MAX_BODY_BYTES = 32 * 2**20  # two dozen long documents are some 5 MiB
_MAX_STRANGERS_BYTES = 64 * 2**10
_STRANGERS_PATHS = ("/v1/sign-in", "/v1/register", "/v1/join/")  # whose bodies are read before it is known who sends
UPLOAD_PATH = "/v1/documents"

RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request cannot be served; the message says why."},
    401: {"model": Unauthorized, "description": "No key, or one that is not known."},
    402: {"model": ErrorBody, "description": "Nothing pays for it: no price, no money, or a cap is reached."},
    403: {"model": ErrorBody, "description": "Known, but not allowed."},
    404: {"model": ErrorBody, "description": "There is no such model."},
    413: {"model": ErrorBody, "description": "The body is too large."},
    422: {"model": InvalidFields, "description": "Fields of a wrong type or range."},
    429: {"model": ErrorBody, "description": "The queue is full: retry after the seconds in Retry-After."},
    500: {"model": ErrorBody, "description": "A failure of the server."},
    503: {"model": ErrorBody, "description": "The model is being loaded, or the server is ending."},
}
"""What a route may answer beside its own; for the API's description."""


class UnauthorizedError(TramontaneError):
    """No credential, or one that is not known."""


class ForbiddenError(TramontaneError):
    """A known caller may not do this."""


class AnswerFailedError(TramontaneError):
    """The engine could not finish an answer; why is in the log."""


class HungUpError(Exception):
    """The client is gone: there is nobody left to answer."""


def max_body_bytes(path: str) -> int:
    """How much is read of a body: nobody fills the memory before it is known who it is."""
    return _MAX_STRANGERS_BYTES if path.startswith(_STRANGERS_PATHS) else MAX_BODY_BYTES


def too_large_response(path: str, correlation_id: str) -> Response:
    """413, of a type that tells a document from any other body; the rest of the body is not read."""
    kind = "document_too_large" if path == UPLOAD_PATH else "request_too_large"
    most = max_body_bytes(path)
    limit = f"{most // 2**20} MiB" if most >= 2**20 else f"{most // 2**10} KiB"
    message = f"The body is larger than {limit}: send less at once."
    return error_response(413, message, kind, correlation_id, headers={"connection": "close"})


def error_response(
    status: int,
    message: str | dict[str, Any],
    kind: str,
    correlation_id: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An error as clients read it."""
    body = {"object": "error", "message": message, "type": kind, "param": param, "code": code}
    return _json(status, {**body, "correlation_id": correlation_id}, headers)


def _json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    # A client's own half surrogates come back in messages: escaped, they harm nobody.
    return Response(json.dumps(body), status, headers, "application/json")


def install_error_handlers(app: FastAPI) -> None:
    """Gives every exception that a route may raise its shape."""
    app.add_exception_handler(TramontaneError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid_fields)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(HungUpError, _hung_up)
    app.add_exception_handler(ClientDisconnect, _hung_up)  # in the middle of a body
    app.add_exception_handler(Exception, _failed)


async def _refused(request: Request, error: Exception) -> Response:
    exchange_id, message = exchange_of(request).id, str(error)
    match error:
        case UnauthorizedError():
            body = {"detail": "Unauthorized", "correlation_id": exchange_id}
            return _json(401, body, {"www-authenticate": "Bearer"})
        case ForbiddenError():
            return error_response(403, message, "forbidden", exchange_id)
        case NotAllowedError():
            return error_response(403, message, error.kind, exchange_id)
        case NotFoundError() | MissingError():
            return error_response(404, message, "not_found", exchange_id)
        case ConflictError():
            return error_response(409, message, "conflict", exchange_id)
        case PaymentRequiredError():
            return error_response(402, message, error.kind, exchange_id)
        case RateLimitedError():
            wait = {**error.headers, "retry-after": str(max(1, math.ceil(error.retry_after)))}
            return error_response(429, message, "rate_limited", exchange_id, code=_RATE_LIMITED, headers=wait)
        case UnavailableError():
            return error_response(503, message, error.kind, exchange_id, headers={"retry-after": "5"})
        case BusyError():
            return error_response(409, message, "conversation_busy", exchange_id)
        case NothingToContinueError():
            return error_response(400, message, "nothing_to_continue", exchange_id)
        case TooManyDocumentsError():
            return error_response(400, message, "too_many_documents", exchange_id, param="document_ids")
        case NoRoomError():
            return error_response(400, message, "document_no_room", exchange_id)
        case DocumentError():
            status = 413 if error.kind == "document_too_large" else 400
            return error_response(status, message, error.kind, exchange_id)
        case UnknownModelError():
            return error_response(404, message, "invalid_model", exchange_id, param="model", code=_INVALID_MODEL)
        case InvalidRequestError():
            kind, code = _kind_and_code(error)
            return error_response(400, message, kind, exchange_id, param=error.field, code=code)
        case QueueFullError():
            wait = {"retry-after": str(_seconds_to_wait(request))}
            return error_response(429, message, "rate_limited", exchange_id, code=_RATE_LIMITED, headers=wait)
        case ModelNotReadyError():
            return error_response(503, message, "model_not_ready", exchange_id, headers={"retry-after": "5"})
        case AnswerFailedError():
            return error_response(500, message, "internal_server_error", exchange_id, code=_INTERNAL)
    return await _failed(request, error)


def _kind_and_code(error: InvalidRequestError) -> tuple[str, str | None]:
    if _OF_A_FUNCTION_CALL.match(error.field):
        return "invalid_function_call", _FUNCTION_CALL
    if isinstance(error, MessageOrderError):
        return "invalid_request_message_order", _MESSAGE_ORDER
    return "invalid_request_error", None


def _seconds_to_wait(request: Request) -> int:
    return platform_of(request).metrics.seconds_until_room()


async def _invalid_fields(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    exchange_id, entries = exchange_of(request).id, error.errors()
    if entries and entries[0]["type"] == "json_invalid":
        where, reason = entries[0]["loc"][-1], entries[0].get("ctx", {}).get("error", "")
        message = f"The body is not JSON: {str(reason).rstrip('.')}, at character {where}."
        return error_response(400, message, "invalid_request_error", exchange_id)
    message_body = {"detail": [_entry(entry) for entry in entries[:_MOST_ENTRIES]]}
    return error_response(422, message_body, "invalid_request_error", exchange_id)


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Where and what; the input itself is left out where it is not short, and never comes from another request."""
    shown: dict[str, Any] = {"type": entry["type"], "loc": list(entry["loc"]), "msg": entry["msg"]}
    given = entry.get("input")
    if isinstance(given, str | int | None) and len(str(given)) <= 100:
        shown["input"] = given
    elif isinstance(given, float):
        shown["input"] = given if math.isfinite(given) else str(given)
    return shown


async def _http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: an unknown path, a wrong method, a body that cannot be parsed."""
    assert isinstance(error, HTTPException)
    exchange_id, path = exchange_of(request).id, request.url.path
    if error.status_code == 413:
        return too_large_response(path, exchange_id)
    messages = {
        404: f"There is nothing at {path[:200]}.",
        405: f"{path[:200]} does not take {request.method}.",
        400: "The body cannot be read as JSON: no Unicode, nested too deeply, or a number of too many digits.",
    }
    message = messages.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    return error_response(error.status_code, message, "invalid_request_error", exchange_id, headers=headers)


async def _hung_up(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the log does


async def _failed(request: Request, error: Exception) -> Response:
    exchange = exchange_of(request)
    exchange.failure = type(error).__name__
    return error_response(500, INTERNAL_MESSAGE, "internal_server_error", exchange.id, code=_INTERNAL)
