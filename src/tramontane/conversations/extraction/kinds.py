"""What kind of file it is: its content decides, its name only tells texts from each other."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal

from tramontane.conversations.extraction.limits import RefusalError, encrypted

Kind = Literal["pdf", "zip", "html", "markdown", "csv", "text"]

KNOWN = "PDF, DOCX, ODT, HTML, Markdown, plain text and CSV"

_SUFFIXES: dict[str, Kind] = {
    ".htm": "html",
    ".html": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
    ".tsv": "csv",
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Word before 2007, and any Office file with a password
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
# A comment ends at its first end: if it might go on, a row of them could be read in more ways than can be tried.
_COMMENTS = r"(<!--((?!-->).)*-->\s*)*"
_HTML = re.compile(rf"\ufeff?\s*(<\?xml[^>]*>\s*)?{_COMMENTS}<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)


def suffix(name: str) -> str:
    """The ending of a file's name where it tells texts from each other, else nothing."""
    ending = PurePath(name.replace("\\", "/")).suffix.lower()
    return ending if ending in _SUFFIXES else ""


def container(content: bytes) -> Literal["pdf", "zip"] | None:
    """The kind of a file that is no text; None for one that may be."""
    if b"%PDF-" in content[:1024]:  # readers of PDF allow for something before it
        return "pdf"
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if content.startswith(_OLE) and _ENCRYPTED_PACKAGE in content:
        raise encrypted()
    if content.startswith((_OLE, b"{\\rtf", b"%!PS")):
        raise unknown()
    return None


def kind_of_text(text: str, ending: str) -> Kind:
    """The kind of a text. What begins as HTML is HTML, whatever its name."""
    return "html" if _HTML.match(text[:4096]) else _SUFFIXES.get(ending, "text")


def unknown() -> RefusalError:
    """A file of no kind that is read here."""
    return RefusalError("document_unknown_kind", f"is none of the kinds that can be read: {KNOWN} can.")
