"""Tables as CSV, for spreadsheets: no cell of which is ever taken for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_NANO = 10**9


def to_csv(rows: Iterable[Sequence[str | int]]) -> str:
    """Rows of cells. A text that a spreadsheet would run as a formula begins with an apostrophe."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()


def euros(nano: int) -> str:
    """Exactly, with nine decimals."""
    whole, rest = divmod(abs(nano), _NANO)
    return f"{'-' * (nano < 0)}{whole}.{rest:09}"


def _cell(value: str | int) -> str:
    if isinstance(value, str) and value.startswith(_FORMULAS) and not _is_number(value):
        return f"'{value}"
    return str(value)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()
