"""Files that are text: plain, Markdown, HTML, CSV."""

from __future__ import annotations

from tramontane.conversations.extraction import charsets
from tramontane.conversations.extraction.csv import read_csv
from tramontane.conversations.extraction.html import read_html
from tramontane.conversations.extraction.kinds import kind_of_text
from tramontane.conversations.extraction.limits import Limits, too_long


def read(content: bytes, ending: str, limits: Limits) -> tuple[str, str, None]:
    """The text with its media type. Raises RefusalError."""
    text = charsets.decode(content)
    match kind_of_text(text, ending):
        case "html":
            return read_html(text, limits), "text/html", None
        case "csv":
            return read_csv(text, limits), "text/csv", None
        case kind:
            if len(text) > limits.characters:
                raise too_long(limits.characters)
            return text, "text/markdown" if kind == "markdown" else "text/plain", None


def load() -> None:
    """Loads what `read` may need."""
    charsets.load()
