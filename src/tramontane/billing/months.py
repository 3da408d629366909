"""Months, by which limits, budgets and statements count. All are UTC's."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def month_of(moment: datetime) -> str:
    """As 2026-11."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def is_month(text: str) -> bool:
    """Whether it is one, as 2026-11."""
    found = _MONTH.fullmatch(text)
    return found is not None and 1 <= int(found[1]) < 9999


def following(month: str) -> str:
    """The month after it."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def first_day(month: str) -> date:
    """The day on which it begins."""
    return date(int(month[:4]), int(month[5:]), 1)


def beginning(month: str) -> datetime:
    """Its first moment."""
    return datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
