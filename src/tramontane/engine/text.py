"""From tokens to the text that may be shown: half characters and possible beginnings of stop strings are held back."""

from __future__ import annotations

from collections.abc import Sequence

from tramontane.tokenizer.incremental import Control, IncrementalDecoder
from tramontane.tokenizer.tokenizer import Tokenizer

Piece = str | Control


class TextStream:
    """Decodes one choice's tokens and ends it at a stop string, also one that lies across tokens."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), continues: bool = False) -> None:
        self._decoder = IncrementalDecoder(tokenizer, continues=continues)
        self._stop = stop
        self._held = ""  # decoded, but perhaps the beginning of a stop string
        self.stopped_by: str | None = None

    def feed(self, token: int, may_stop: bool = True) -> list[Piece]:
        """The pieces that `token` completes; sets `stopped_by` when a stop string ended (before it, text is kept)."""
        return self._release(self._decoder.feed(token), may_stop)

    def flush(self) -> list[Piece]:
        """What was still held back, at the end."""
        if self.stopped_by is not None:
            return []
        pieces = self._release(self._decoder.flush(), may_stop=True)
        held, self._held = self._held, ""
        return [*pieces, held] if held else pieces

    def _release(self, pieces: list[Piece], may_stop: bool) -> list[Piece]:
        if not self._stop:
            return pieces
        released: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, Control):  # a stop string does not reach across a control token
                released += [self._held, piece] if self._held else [piece]
                self._held = ""
            elif shown := self._scan(self._held + piece, may_stop):
                released.append(shown)
            if self.stopped_by is not None:
                break
        return released

    def _scan(self, text: str, may_stop: bool) -> str:
        """Splits `text` into what is shown and what is held."""
        if may_stop:
            found = [(at, stop) for stop in self._stop if (at := text.find(stop)) >= 0]
            if found:
                at, self.stopped_by = min(found)
                self._held = ""
                return text[:at]
        kept = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a proper beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
