"""What a provider gives back: events as they happen, and the whole answer that they add up to.

Streamed and whole answers are made of the same events, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, Protocol

from tramontane.tokenizer.tool_calls import Part, Text, Thinking, ToolCall

FinishReason = Literal["stop", "length", "model_length", "tool_calls", "error"]


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with the natural logarithm of its probability, and the best tokens in its place."""

    token: str
    bytes: bytes
    id: int
    logprob: float
    top: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """A quotation: `answer[text_start:text_end]` is `document[start:end]`, but for white space. Offsets in characters.

    `document` counts from 1; `document_id` and `title` are the caller's.
    """

    document: int
    start: int
    end: int
    text_start: int
    text_end: int
    document_id: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceUsage:
    """Tokens of one choice, and the seconds that it waited for its turn."""

    prompt: int
    cached: int
    output: int
    queue_seconds: float = 0.0
    accepted_predictions: int = 0
    rejected_predictions: int = 0
    is_estimate: bool = False  # counted here, because the provider did not tell


@dataclass(slots=True)
class Event:
    """What was added to one choice; its last event has a finish reason."""

    index: int
    parts: list[Part] = field(default_factory=list)
    num_tokens: int = 0
    scores: list[TokenScore] = field(default_factory=list)
    prompt_scores: list[TokenScore] | None = None
    quotes: list[Quote] | None = None
    finish_reason: FinishReason | None = None
    detail: str | None = None  # the stop string that ended it, or what went wrong
    usage: ChoiceUsage | None = None
    cached: int | None = None  # prompt tokens that were found computed; with the first token, where it is known


class EventStream(Protocol):
    """The events of an accepted request; `aclose` gives up what is not finished."""

    num_prompt_tokens: int
    notes: list[str]  # sentences on what the model's template could not hold

    def __aiter__(self) -> EventStream: ...

    async def __anext__(self) -> Event: ...

    async def aclose(self) -> None:
        """Cancels the request, unless every choice has ended."""


@dataclass(slots=True)
class Choice:
    """One choice of an answer, put together from its events."""

    parts: list[Part] = field(default_factory=list)
    scores: list[TokenScore] = field(default_factory=list)
    prompt_scores: list[TokenScore] | None = None
    quotes: list[Quote] | None = None
    finish_reason: FinishReason | None = None
    detail: str | None = None
    usage: ChoiceUsage | None = None

    @property
    def text(self) -> str:
        """The answer itself, without thoughts and calls."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thinking(self) -> str:
        """The thoughts before it."""
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls, in order."""
        return [part for part in self.parts if isinstance(part, ToolCall)]

    def add(self, event: Event) -> None:
        """Takes one event in."""
        self.parts += event.parts
        self.scores += event.scores
        if event.prompt_scores is not None:
            self.prompt_scores = event.prompt_scores
        if event.finish_reason is not None:
            self.finish_reason, self.detail, self.usage = event.finish_reason, event.detail, event.usage
            self.quotes = event.quotes


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a whole request: the prompt counts once, whatever the number of choices."""

    prompt: int
    cached: int
    output: int
    accepted_predictions: int = 0
    rejected_predictions: int = 0


class Answer:
    """All choices of a request."""

    def __init__(self, num_choices: int) -> None:
        self.choices = [Choice() for _ in range(num_choices)]

    def add(self, event: Event) -> None:
        """Takes one event in."""
        self.choices[event.index].add(event)

    @property
    def usage(self) -> Usage:
        """What the request cost, by the counts of the choices that have ended."""
        usages = [choice.usage for choice in self.choices if choice.usage is not None]
        # Later choices find the prompt that the first one computed: that is no saving of the caller's.
        first = usages[0] if usages else ChoiceUsage(0, 0, 0)
        return Usage(
            first.prompt,
            first.cached,
            sum(usage.output for usage in usages),
            sum(usage.accepted_predictions for usage in usages),
            sum(usage.rejected_predictions for usage in usages),
        )


def joined(parts: list[Part]) -> Iterator[Part]:
    """Neighbouring texts made one, and neighbouring thoughts; each call by itself."""
    for _, group in groupby(parts, type):
        same = list(group)
        if isinstance(same[0], ToolCall):
            yield from same
        else:
            yield type(same[0])("".join(part.text for part in same if not isinstance(part, ToolCall)))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each input, and the tokens that they took."""

    vectors: list[list[float]]
    num_tokens: int
    is_estimate: bool = False  # counted here, because the provider did not tell
