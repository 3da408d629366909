"""Tokens of models that are not here: counted with a tokenizer of the family, which is in mistral-common's wheel."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mistral_common

from tramontane.gateway.requests import Chat, Continuation, Fim, Prompt
from tramontane.tokenizer.documents import Document
from tramontane.tokenizer.tokenizer import Tokenizer

_FILE = "tekken_240911.json"
_PER_MESSAGE, _PER_IMAGE = 5, 4096  # tokens that templates add, and that an image is at most
_TAIL = 64  # characters of a growing text that are counted again with each piece
_LONGEST_TAIL = 4 * _TAIL  # where no word ends in it, as in Chinese or base64
_SHARE_MORE, _MORE = 0.25, 16  # by which an estimate is made a bound: smaller vocabularies need more tokens


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(Path(mistral_common.__file__).parent / "data" / _FILE)


class Counter:
    """Counts texts; the tokenizer is read when it is first needed, in a thread, since that takes a second."""

    async def open(self) -> None:
        """Makes sure that the tokenizer is there."""
        await asyncio.to_thread(_tokenizer)

    def text(self, text: str) -> int:
        """Of a text; to be called once it is open."""
        return len(_tokenizer().encode(text))

    async def prompt(self, prompt: Prompt) -> int:
        """About what a prompt takes."""
        return await asyncio.to_thread(self._prompt, prompt)  # of books it takes a while, and others' streams go on

    async def schema(self, prompt: Prompt) -> int:
        """What the form of the answer takes, which some servers show to the model, and count."""
        if not isinstance(prompt, Chat) or prompt.format.kind == "text":
            return 0
        return await asyncio.to_thread(self._json, prompt.format.shown or prompt.format.schema)

    async def texts(self, texts: Sequence[str | tuple[int, ...]]) -> int:
        """What texts take, or their tokens."""
        return await asyncio.to_thread(
            lambda: sum(self.text(text) if isinstance(text, str) else len(text) for text in texts)
        )

    def _prompt(self, prompt: Prompt) -> int:
        match prompt:
            case Chat():
                tools = sum(self._json(tool) + _PER_MESSAGE for tool in prompt.tools)
                documents = sum(self._document(document) for document in prompt.documents)
                return tools + documents + sum(self._message(message) for message in prompt.messages)
            case Fim():
                return self.text(prompt.prompt) + self.text(prompt.suffix or "") + _PER_MESSAGE
            case Continuation():
                return self.text(prompt.prompt) if isinstance(prompt.prompt, str) else len(prompt.prompt)

    def _document(self, document: Document) -> int:
        return self.text(document.text) + self.text(document.title or "") + _PER_MESSAGE

    def _message(self, message: Mapping[str, Any]) -> int:
        content = message.get("content")
        total = _PER_MESSAGE + sum(self._json(message[name]) for name in ("name", "tool_calls") if message.get(name))
        if isinstance(content, str):
            return total + self.text(content)
        for chunk in content if isinstance(content, list) else []:
            if isinstance(chunk, Mapping) and chunk.get("type") == "image_url":
                total += _PER_IMAGE
            elif isinstance(chunk, Mapping) and isinstance(chunk.get("text"), str):
                total += self.text(chunk["text"])
            else:
                total += self._json(chunk)
        return total

    def _json(self, value: Any) -> int:
        return self.text(json.dumps(value, default=str))


class RunningCount:
    """The tokens of a text that comes in pieces, which need not end where tokens do."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counted = 0  # of what lies behind
        self._tail = ""
        self.total = 0

    def add(self, piece: str) -> int:
        """The tokens that a piece adds."""
        self._tail += piece
        before, self.total = self.total, max(self.total, self._counted + self._counter.text(self._tail), 1)
        if len(self._tail) > _TAIL:
            cut = self._tail.rfind(" ")
            if cut <= 0 and len(self._tail) > _LONGEST_TAIL:
                cut = len(self._tail) - _TAIL  # else each piece would be counted with all that came before it
            if cut > 0:
                self._counted += self._counter.text(self._tail[:cut])
                self._tail = self._tail[cut:]
        return self.total - before


def bound(estimate: int) -> int:
    """What an estimate is taken for where too little would be wrong."""
    return math.ceil(estimate * (1 + _SHARE_MORE)) + _MORE
