"""Text that every database can keep, and text that words are compared by."""

from __future__ import annotations

import re
import unicodedata

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with U+FFFD for what no database keeps: NUL, and half a surrogate pair. As long as it was."""
    return _UNSTORABLE.sub("\ufffd", text)


def folded(text: str) -> str:
    """In lower case and without accents: `Été` and `ete` are one word."""
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
