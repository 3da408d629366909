"""A sample of fine-tuning: one conversation that ends with what the model is to learn to say."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """A conversation in the chat format of the API; every assistant message is learnt, all else is only read.

    `messages` ends with an assistant's message; one may carry `"weight": 0.0` (or any factor) so that it is not learnt
    (or less). `tools` are functions as clients send them. `kind` and `language` (ISO 639-1, or "code") are counted in
    the training record. `weight` multiplies the loss of all of the sample's tokens.

    Code with a gap is two messages: `{"prefix": …, "suffix": …}`, without a role, and the assistant's, what fills it.
    A text, which is learnt whole, is one message: `{"text": …}`.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    kind: str
    language: str
    weight: float = 1.0

    @property
    def is_gap(self) -> bool:
        """Whether it is code with a gap, and no conversation."""
        return len(self.messages) == 2 and "suffix" in self.messages[0]

    @property
    def is_text(self) -> bool:
        """Whether it is a text, and no conversation."""
        return len(self.messages) == 1 and "text" in self.messages[0]

    def texts(self) -> Iterator[str]:
        """All that it says, about as its tokens will say it."""
        for message in self.messages:
            yield from (message[key] for key in ("text", "prefix", "suffix") if isinstance(message.get(key), str))
            yield from _texts_of(message.get("content"))
            for call in message.get("tool_calls") or []:
                yield json.dumps(call["function"], ensure_ascii=False)
        if self.tools:
            yield json.dumps(self.tools, ensure_ascii=False)


def _texts_of(content: Any) -> Iterator[str]:
    """A message's content is a text, or a list of chunks with texts."""
    chunks = content if isinstance(content, list) else [{"text": content}]
    yield from (chunk["text"] for chunk in chunks if isinstance(chunk, dict) and isinstance(chunk.get("text"), str))


# Draws a fresh sample from the random state that it is given, and from nothing else.
Generator = Callable[[random.Random], Sample]
