"""Token ids into text one at a time, without ever showing half a character."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from tramontane.tokenizer.tokenizer import Tokenizer

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True)
class Control:
    """A control token in a stream of text, such as `[TOOL_CALLS]` or `</s>`."""

    id: int
    name: str


class IncrementalDecoder:
    """Turns a stream of ids into strings and control tokens.

    The strings put together are `tokenizer.decode` of all ids. A character comes with its last byte; bytes that cannot
    become a character come as U+FFFD as soon as that is certain. With `continues` the text goes on from an existing one
    (an assistant's prefix, a completion's prompt), so that SentencePiece's blank before the first word is a real blank.
    """

    def __init__(self, tokenizer: Tokenizer, *, continues: bool = False) -> None:
        self._tokenizer = tokenizer
        self._control_names = tokenizer.control_names
        self._token_bytes = tokenizer.token_bytes
        self._at_beginning = not continues
        self._utf8 = _Utf8Decoder("replace")

    def feed(self, token_id: int) -> list[str | Control]:
        """What the token adds: nothing yet, a string, or a control token (after what it cut off)."""
        name = self._control_names.get(token_id)
        if name is not None:
            return [*self.flush(), Control(token_id, name)]
        if self._at_beginning:
            self._at_beginning = False
            text = self._utf8.decode(self._tokenizer.first_bytes(token_id))
        else:
            text = self._utf8.decode(self._token_bytes(token_id))
        return [text] if text else []

    def flush(self) -> list[str | Control]:
        """The end of the text: bytes still waiting for the rest of their character become U+FFFD."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return [text] if text else []
