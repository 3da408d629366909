"""The text of a table in a text file: a line a row."""

from __future__ import annotations

import csv
import io

from tramontane.conversations.extraction.limits import Limits, broken, too_complex, too_long

_DELIMITERS = ",;\t|"
_SAMPLE = 50  # lines
_MAX_COLUMNS = 10_000


def read_csv(text: str, limits: Limits) -> str:
    """Each row as `header: value; header: value`, so that it can be understood, and quoted, without the others.

    Empty values are left out. Without headers, rows are `a | b | c`. Raises RefusalError.
    """
    csv.field_size_limit(limits.characters)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    lines: list[str] = []
    room = limits.characters
    headers: list[str] | None = None
    try:
        for row in reader:
            if len(row) > _MAX_COLUMNS:
                raise too_complex(f"has a row of more than {_MAX_COLUMNS:,} columns")
            values = [" ".join(value.split()) for value in row]
            if headers is None:
                headers = values if _are_headers(values) else []
                if headers:
                    continue
            line = _line(headers, values)
            room -= len(line) + 1
            if room < 0:
                raise too_long(limits.characters)
            lines.append(line)
    except csv.Error as error:
        raise broken("it is no table: a value has no end") from error
    return "\n".join(filter(None, lines)) or " | ".join(headers or [])


def _delimiter(text: str) -> str:
    """What stands between values: the character that stands equally often in the most of the first lines."""
    lines = [line for line in text[:100_000].splitlines()[:_SAMPLE] if line.strip()]
    usual = {d: max(counts, key=counts.count) for d in _DELIMITERS if (counts := [line.count(d) for line in lines])}
    agreeing = {d: sum(line.count(d) == usual[d] for line in lines) for d in usual if usual[d]}
    return max(agreeing, key=lambda d: (agreeing[d], usual[d]), default=",")


def _are_headers(values: list[str]) -> bool:
    """Names are all there, all different, and no numbers."""
    return (
        len(values) > 1
        and all(values)
        and len(set(values)) == len(values)
        and not any(value.strip("+-").replace(".", "").replace(",", "").isdecimal() for value in values)
    )


def _line(headers: list[str], values: list[str]) -> str:
    if not headers or len(values) > len(headers):
        return " | ".join(values) if any(values) else ""
    return "; ".join(f"{header}: {value}" for header, value in zip(headers, values, strict=False) if value)
