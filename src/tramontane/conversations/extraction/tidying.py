"""What all texts have in common in the end."""

from __future__ import annotations

import re

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def tidy(text: str) -> str:
    """The text with one kind of line end, at most one blank line in a row, and no control characters.

    All other characters stay as they are, as quotes of them must.
    """
    text = _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))
    text = re.sub(r"[ \t]+\n", "\n", _SURROGATES.sub("\ufffd", text))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip()
