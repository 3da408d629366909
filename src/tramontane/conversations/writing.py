"""An answer while it is written: what is there so far, and who is woken when there is more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tramontane.conversations.plain_text import storable
from tramontane.conversations.tables import ConversationMessage
from tramontane.tokenizer.tool_calls import Part, Text, Thinking, ToolCall

Kind = Literal["content", "thinking", "tool_call"]
Delta = tuple[Kind, Any]
"""What was added: text, or a tool call as it is kept."""


@dataclass(eq=False, slots=True)
class Writing:
    """One answer that is being written. `message` is its row as it was at the beginning."""

    message: ConversationMessage
    reading: asyncio.Task[None] = field(init=False)  # cancelled when the answer is to stop
    settled: asyncio.Task[None] = field(init=False)  # done once the database has the whole answer
    quotes: list[dict[str, Any]] | None = None
    stopped: bool = False
    _deltas: list[Delta] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    def add(self, parts: list[Part]) -> None:
        """Takes in what the model wrote, and wakes whoever follows."""
        for part in parts:
            match part:
                case Text():
                    self._add("content", storable(part.text))
                case Thinking():
                    self._add("thinking", storable(part.text))
                case ToolCall():
                    call = {"id": part.id, "name": storable(part.name), "arguments": storable(part.arguments)}
                    self._deltas.append(("tool_call", call))
        self._wake()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._wake()

    def so_far(self) -> dict[str, Any]:
        """The columns of what is there."""
        before = self.message
        return {
            "content": before.content + "".join(added for kind, added in self._deltas if kind == "content"),
            "thinking": before.thinking + "".join(added for kind, added in self._deltas if kind == "thinking"),
            "tool_calls": [*before.tool_calls, *(added for kind, added in self._deltas if kind == "tool_call")],
            "given": before.given,
            "not_given": before.not_given,
            "left_out": before.left_out,
        }

    @property
    def num_deltas(self) -> int:
        """How much there is: a place for `follow`."""
        return len(self._deltas)

    async def follow(self, place: int) -> AsyncIterator[Delta]:
        """What was added since; neighbouring texts come as one, so that who reads slowly is not left behind."""
        while True:
            news = self._news
            added, place = self._deltas[place:], len(self._deltas)
            for delta in _joined(added):
                yield delta
            if self._ended and place == len(self._deltas):
                return
            if place == len(self._deltas):
                await news.wait()

    def _add(self, kind: Kind, text: str) -> None:
        if text:
            self._deltas.append((kind, text))

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _joined(deltas: list[Delta]) -> list[Delta]:
    joined: list[Delta] = []
    for kind, added in deltas:
        if kind != "tool_call" and joined and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + added)
        else:
            joined.append((kind, added))
    return joined
