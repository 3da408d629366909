"""What is asked of a model, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Reply:
    """A model's answer: its text, and its calls as (name, arguments as JSON text)."""

    text: str
    calls: Sequence[tuple[str, str]] = ()


Check = Callable[[Reply], dict[str, bool]]
"""Judges a reply: whether it is right, by the name of each measure that applies to it."""


@dataclass(frozen=True)
class Question:
    """A conversation to answer. `quotes`: it has documents, and is to be answered under the quote grammar too."""

    task: str
    language: str
    messages: Sequence[Mapping[str, Any]]
    check: Check
    tools: Sequence[Mapping[str, Any]] = field(default_factory=list)
    quotes: bool = False
    max_tokens: int = 64


class Answerer(Protocol):
    """Has a model answer, greedily; `grammar`: the answer is held to the quote grammar."""

    async def __call__(self, question: Question, *, grammar: bool) -> Reply: ...


class Scorer(Protocol):
    """Has a model read a text: the sum of its tokens' natural log probabilities, and how many tokens were judged."""

    async def __call__(self, text: str) -> tuple[float, int]: ...


@dataclass(frozen=True)
class Writing:
    """How a model goes on with a text: at temperature 0 greedily, until a stop string, which is not part of it."""

    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    seed: int | None = None


class Writer(Protocol):
    """A model by its tokens, for judges that bring prompts of their own."""

    max_context: int
    """Tokens that a prompt and what is written after it may have together."""
    bos_id: int

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without <s>."""

    async def score(self, tokens: Sequence[int]) -> list[tuple[float, bool]]:
        """Of each token but the first: its natural log probability, and whether greedy would have chosen it."""

    async def write(self, tokens: Sequence[int], writing: Writing) -> str:
        """What the model writes after the tokens."""
