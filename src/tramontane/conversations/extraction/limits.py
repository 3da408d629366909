"""What a file may cost, and how one that may not be read is refused."""

from __future__ import annotations

from dataclasses import dataclass

from tramontane.conversations.errors import DocumentProblem


@dataclass(frozen=True)
class Limits:
    """What a file may cost. The defaults let a book through, and a bomb fail early."""

    size: int = 32 << 20  # bytes of the file
    characters: int = 4_000_000  # of the text; a thick book has two million
    pages: int = 2_000
    members: int = 10_000  # of a zip archive
    expanded: int = 64 << 20  # bytes that are unpacked from it
    ratio: int = 400  # of unpacked to packed bytes, above a megabyte; a bomb has a thousand
    memory: int = 1 << 30  # bytes of address space of the reading process, 0.2 GB of which are libraries
    processor_seconds: int = 30
    seconds: float = 120.0  # by the clock; where a model answers on all cores, little of it is the process's


class RefusalError(Exception):
    """The file gives no text. `reason` goes on where a sentence began with the file's name."""

    def __init__(self, kind: DocumentProblem, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def broken(what: str) -> RefusalError:
    """A file that is not as its format wants it."""
    return RefusalError(
        "document_broken", f"is damaged ({what}): open it in the program that wrote it and save it anew."
    )


def encrypted() -> RefusalError:
    """A file that wants a password."""
    return RefusalError("document_encrypted", "is protected by a password: save it without one.")


def too_complex(what: str) -> RefusalError:
    """A file that would cost more than it may."""
    return RefusalError("document_too_complex", f"{what}: save it in a simpler format, or in parts.")


def too_long(characters: int) -> RefusalError:
    """A file with too much text."""
    return RefusalError("document_too_large", f"holds more than {characters:,} characters of text: upload it in parts.")
