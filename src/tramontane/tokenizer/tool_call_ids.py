"""Ids of tool calls: nine letters and digits, the only shape that the v3–v11 templates take."""

from __future__ import annotations

import hashlib
import re
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 9
_ID = re.compile(rf"[a-zA-Z0-9]{{{_LENGTH}}}")


def is_tool_call_id(text: str) -> bool:
    """Whether the id already has the templates' shape."""
    return _ID.fullmatch(text) is not None


def new_tool_call_id() -> str:
    """An id for a call that came without one. Random: a client keeps ids of many answers apart."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def rehash_tool_call_id(text: str) -> str:
    """The id in the templates' shape: itself if it has it, else (`call_…`, a UUID) always the same nine characters.

    A call and its result are hashed alike, so they stay a pair. Nine of 62 characters are 53 bits.
    """
    if is_tool_call_id(text):
        return text
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
