"""Where a page of a list ends: the moment and the id of its last row, as the client hands them back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from tramontane.errors import InvalidRequestError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cursor_of(moment: datetime, row_id: str) -> str:
    """What `before` is to be for the next page."""
    return f"{(moment - _EPOCH) // timedelta(microseconds=1)}-{row_id}"


def comes_after(cursor: str, moment: Any, row_id: Any) -> ColumnElement[bool]:
    """The rows of the next page, of a list whose newest come first; raises InvalidRequestError.

    `moment` and `row_id` are the columns that the list is ordered by.
    """
    digits, _, last_id = cursor.partition("-")
    try:
        last = _EPOCH + timedelta(microseconds=int(digits))
        if not last_id.isalnum():
            raise ValueError(last_id)
    except (ValueError, OverflowError):
        raise InvalidRequestError("before", "before is no value of `next`: leave it out for the first page.") from None
    # The first comparison is what an index can seek.
    return and_(moment <= last, or_(moment < last, row_id < last_id))
