"""Moments that come from outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tramontane.errors import InvalidRequestError

_LAST = datetime(9000, 1, 1, tzinfo=UTC)
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(minutes=2)


def moment_of(field: str, given: datetime) -> datetime:
    """A given moment in UTC; raises InvalidRequestError for one without a time zone, and for what no calendar holds."""
    if given.tzinfo is None:
        raise InvalidRequestError(field, f"{field} has no time zone, so it is no moment: end it with Z or +01:00.")
    try:
        moment = given.astimezone(UTC)
    except OverflowError:
        moment = None
    if moment is None or not _FIRST <= moment < _LAST:
        raise InvalidRequestError(field, f"{field} is not between the years 2000 and 9000.")
    return moment


def not_before(field: str, given: datetime, present: datetime) -> datetime:
    """A given moment in UTC that is not past. Another clock's "now" may be a little behind: then it is ours."""
    moment = moment_of(field, given)
    if moment < present - _CLOCKS_DIFFER:
        raise InvalidRequestError(field, f"{field} is past: what was in force then is not changed any more.")
    return max(moment, present)
