"""Ids that come from outside."""

from __future__ import annotations

import re

_ID = re.compile(r"[0-9a-f]{32}")


def id_or_nobodys(text: str) -> str:
    """The id; what can be no id becomes "", which is nobody's: it is not found, as an id that does not exist."""
    return text if _ID.fullmatch(text) else ""
