"""What another server refuses: whose fault it is, and what may be said of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tramontane.accounts.secrets import Secret
from tramontane.errors import InvalidRequestError, TramontaneError
from tramontane.gateway.errors import OfferingFailedError

_LONGEST = 400  # characters of another's message
_URL = re.compile(r"\w+://\S+")
_OF_THE_REQUEST = (400, 413, 422)
# Google says by 400 what others say by 401. Where the request has such words itself, they may just have been repeated:
# no client's tool called `api_key` may close an offering to everybody.
_OF_THE_KEY = re.compile(r"api[ _-]?key|credential", re.IGNORECASE)


def refusal(status: int, body: bytes, key: Secret | None, path: str, sent: Any = None) -> TramontaneError:
    """The error for an answer that is no success: InvalidRequestError where the request, `sent`, is wrong."""
    parsed = _parsed(body)
    message = without_secrets(message_of(parsed), key)
    if status in _OF_THE_REQUEST and (not _OF_THE_KEY.search(message) or _OF_THE_KEY.search(json.dumps(sent))):
        field = _field_of(parsed) or ("messages" if path == "chat/completions" else "prompt")
        return InvalidRequestError(field, f"The model's provider refuses the request: {message}")
    if status in (404, 405) and path == "fim/completions":
        return InvalidRequestError("model", "The model's provider does not fill gaps: ask another model.")
    return OfferingFailedError(f"It answered {status}: {message}")


def message_of(body: Any) -> str:
    """The words of an error of any make."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping):
        return str(body or "no reason given")[:_LONGEST]
    for name in ("error", "message", "detail"):
        found = body.get(name)
        if isinstance(found, str) and found:
            return found[:_LONGEST]
        if isinstance(found, Mapping):
            return message_of(found)
        if isinstance(found, list) and found:  # FastAPI's: each entry has a place and a message
            entries = [entry for entry in found if isinstance(entry, Mapping)]
            texts = [f"{'.'.join(map(str, entry.get('loc') or ()))}: {entry.get('msg')}" for entry in entries]
            return "; ".join(texts or map(str, found))[:_LONGEST]
    return json.dumps(body, default=str)[:_LONGEST]


def without_secrets(message: str, key: Secret | None) -> str:
    """Another server's words, without the key that it may repeat, and without addresses of its own."""
    if key is not None and key.reveal():
        message = message.replace(key.reveal(), "****")
    return " ".join(_URL.sub("(its address)", message).split())


def _field_of(body: Any) -> str | None:
    error = body.get("error", body) if isinstance(body, Mapping) else None
    field = error.get("param") if isinstance(error, Mapping) else None
    return field[:100] if isinstance(field, str) and field else None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace").strip()
