"""What routes share that show a user what is the user's own."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel
from starlette.requests import Request

from tramontane.api.errors import RESPONSES
from tramontane.api.platform import principal_of
from tramontane.api.schemas.common import ErrorBody
from tramontane.conversations.ids import id_or_nobodys
from tramontane.conversations.owner import Owner
from tramontane.conversations.plain_text import storable
from tramontane.errors import InvalidRequestError

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorBody, "description": "There is no such thing, or it is another user's."}
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorBody, "description": "It contradicts what is there; the message says what."}
}
OWNED_RESPONSES: dict[int | str, dict[str, Any]] = {**RESPONSES, **NOT_FOUND, **CONFLICT}
BUSY: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorBody, "description": "An answer of this place is being written."}
}

PathId = Annotated[str, Path(max_length=200), AfterValidator(id_or_nobodys)]
Token = Annotated[str, Path(max_length=200)]
Search = Annotated[str, Query(max_length=500, description="Words to search for.")]
Name = Annotated[str, Query(min_length=1, max_length=300), AfterValidator(storable)]
Before = Annotated[str | None, Query(max_length=100, description="From a page's `next`: the page after it.")]
Limit = Annotated[int, Query(ge=1, le=200)]

_MOST_BYTES, _MOST_LEVELS = 200_000, 64  # of JSON that is kept


def owner_of(request: Request) -> Owner:
    """The user who asks, in the workspace of the credential."""
    principal = principal_of(request)
    return Owner(principal.workspace_id, principal.user_id)


def changes_of(body: BaseModel, nullable: Collection[str]) -> dict[str, Any]:
    """The fields that a body names. Null resets those that can be null, and of all others means absent."""
    named = body.model_dump(exclude_unset=True)
    return {name: value for name, value in named.items() if value is not None or name in nullable}


def check_json(field: str, value: Any) -> None:
    """Raises InvalidRequestError for what Python takes for JSON and others do not: NaN, and half a surrogate pair.

    Also for what is longer than a list of rows should hold, or nested more deeply than every encoder takes.
    """
    if _is_deeper(value, _MOST_LEVELS):
        raise InvalidRequestError(field, f"{field} is nested more than {_MOST_LEVELS} levels deep.")
    try:
        encoded = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise InvalidRequestError(field, f"{field} holds a number or a character that JSON does not have.") from None
    if len(encoded) > _MOST_BYTES:
        raise InvalidRequestError(field, f"{field} has {len(encoded):,} bytes; at most it may have {_MOST_BYTES:,}.")


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)
