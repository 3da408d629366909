"""What all commands show alike, and the one place where foreign text is made fit for a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from rich.console import Console

notes = Console(stderr=True, soft_wrap=True)  # what is not the answer goes to standard error

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Control characters, which could repaint the terminal or turn its text around, become U+FFFD.

    Model output, and names in files that came from elsewhere, are not ours.
    """
    return _CONTROL.sub("\ufffd", text)


def tell(notices: Iterable[str]) -> None:
    """Says what the user should know, on standard error."""
    for notice in notices:
        notes.print("Note:", style="yellow", end=" ")
        notes.print(plain(notice), markup=False, highlight=False)


def complain(error: Exception) -> None:
    """Says what went wrong, on standard error."""
    notes.print("Error:", style="bold red", end=" ")
    print(plain(str(error)), file=sys.stderr)
