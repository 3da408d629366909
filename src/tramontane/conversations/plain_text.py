"""Text that every database can keep."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with U+FFFD for what no database keeps: NUL, and half a surrogate pair. As long as it was."""
    return _UNSTORABLE.sub("\ufffd", text)
