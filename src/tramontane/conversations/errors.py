"""What goes wrong with conversations and documents: each is one sentence that says what to do."""

from __future__ import annotations

from typing import Literal

from tramontane.errors import TramontaneError

DocumentProblem = Literal[
    "document_broken",
    "document_encrypted",
    "document_empty",
    "document_too_large",
    "document_unknown_kind",
    "document_too_complex",
]


class DocumentError(TramontaneError):
    """A file gives no text; `kind` is the type of the error in the API, and the message names the file."""

    def __init__(self, kind: DocumentProblem, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NotFoundError(TramontaneError):
    """There is no such thing, or it is another's: nobody can tell which."""


class BusyError(TramontaneError):
    """An answer of this place is being written already."""


class NothingToContinueError(TramontaneError):
    """An answer that cannot be gone on with."""


class TooManyDocumentsError(TramontaneError):
    """A conversation has more documents than one can have."""


class NoRoomError(TramontaneError):
    """Not even one passage of a document finds room beside the question."""
