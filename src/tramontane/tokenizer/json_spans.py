"""Where the values of a JSON text begin and end, so that a part can be kept exactly as it was written.

Parsing and writing again would change numbers (1.10, 1e400, a hundred digits) and repeat keys. Nothing here raises:
what is not JSON, or is nested deeper than Python's parser goes, is simply no value.
"""

from __future__ import annotations

import json
import re

# Numbers and constants are never needed as values: keeping their text also avoids Python's limit on digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_BLANKS = re.compile(r"[ \t\n\r]*")

Span = tuple[int, int]


def object_end(text: str) -> int | None:
    """Where the JSON object that the text begins with ends; None when it begins with none."""
    return _value_end(text, 0) if text.startswith("{") else None


def string_value(text: str) -> str | None:
    """The string that a JSON text spells, or None when it spells none."""
    if not text.startswith('"'):
        return None
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def array_spans(text: str) -> tuple[list[Span], int]:
    """The elements of the array that the text begins with, and where what could not be read begins.

    A whole array ends behind its bracket; of a broken one the elements before the break are kept.
    """
    position = _skip(text, 0)
    if text[position : position + 1] != "[":
        return [], 0
    position = _skip(text, position + 1)
    spans: list[Span] = []
    while (end := _value_end(text, position)) is not None:
        spans.append((position, end))
        position = _skip(text, end)
        if text[position : position + 1] == "]":
            return spans, position + 1
        if text[position : position + 1] != ",":
            return spans, position
        position = _skip(text, position + 1)
    return spans, position if spans else 0


def object_spans(text: str) -> dict[str, str] | None:
    """The members of a JSON object, their values as written; None when the text is no object."""
    if object_end(text) != len(text):
        return None
    members: dict[str, str] = {}
    position = _skip(text, 1)
    while text[position] != "}":
        key_end = _value_end(text, position)
        assert key_end is not None  # the whole was checked above
        key = string_value(text[position:key_end]) or ""
        start = _skip(text, _skip(text, key_end) + 1)
        end = _value_end(text, start)
        assert end is not None
        members[key] = text[start:end]
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return members


def _skip(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position


def _value_end(text: str, position: int) -> int | None:
    try:
        return _DECODER.raw_decode(text, position)[1]
    except (ValueError, RecursionError):
        return None
