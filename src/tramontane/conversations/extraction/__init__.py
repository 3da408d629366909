"""The text of an uploaded file: PDF, DOCX, ODT, HTML, Markdown, plain text, CSV.

A file is hostile until shown otherwise. So it is read by a process of its own (`__main__`), which holds no secret, can
open no file and no socket, and is stopped where it takes too much time or memory. That process imports this package
too, and is to start at once: neither asyncio nor torch, HTTP or a database is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from tramontane.conversations.errors import DocumentError
from tramontane.conversations.extraction.limits import Limits, RefusalError


@dataclass(frozen=True)
class Extracted:
    """The text of a file: paragraphs separated by blank lines. `num_pages` is None where there are no pages."""

    text: str
    media_type: str
    num_pages: int | None


async def extract(name: str, content: bytes, limits: Limits | None = None) -> Extracted:
    """The text of an uploaded file; `name` is the file's own, and trusted in nothing.

    It waits for its turn: two files are read at once. Raises DocumentError.
    """
    from tramontane.conversations.extraction import process

    try:
        return Extracted(**await process.read(name, content, limits or Limits()))
    except RefusalError as refusal:
        raise DocumentError(refusal.kind, f"The file {_shown(name)} {refusal.reason}") from None


def _shown(name: str) -> str:
    """A file's name as a sentence may hold it: on one line, and not too long."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return f"“{shown if len(shown) <= 100 else shown[:99] + '…'}”"
