"""What a caller asks for, in terms that every provider understands: no HTTP, no engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.documents import Document

DEFAULT_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen; the fields mean what those of the engine's `SamplingParams` mean."""

    temperature: float = DEFAULT_TEMPERATURE
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    max_tokens: int | None = None  # None: as many as the context holds
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None  # None: none; k: the chosen token's and the k best ones'
    prompt_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What an answer must look like. `quotes`: verbatim quotations from numbered documents, or a refusal."""

    kind: Literal["text", "json", "quotes"] = "text"
    schema: Mapping[str, Any] | None = None  # json: None is any object
    free_text: bool = False  # quotes: whether there may be text between them
    languages: tuple[str, ...] | None = None  # quotes: of the refusal; None: all that there are
    shown: Mapping[str, Any] | None = None  # as the client wrote it, for templates that tell the model of it


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation to answer; messages and tools are as clients send them."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str = "auto"  # auto, required or none
    parallel_tool_calls: bool = True
    format: AnswerFormat = AnswerFormat()
    documents: tuple[Document, ...] = ()
    prediction: str = ""  # what much of the answer will probably look like: it comes the faster, and is the same
    reasoning_effort: str | None = None
    thinks: bool = False  # the model is asked to reason before it answers


@dataclass(frozen=True, slots=True)
class Fim:
    """Code before and after a gap, to be filled."""

    prompt: str
    suffix: str | None = None


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text, or its tokens, to be continued as it is."""

    prompt: str | tuple[int, ...]


Prompt = Chat | Fim | Continuation


@dataclass(frozen=True, slots=True)
class Generation:
    """One request for text. `salt`: prefixes are cached for requests of equal salts only."""

    id: str
    prompt: Prompt
    sampling: Sampling = Sampling()
    salt: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """Texts, or their tokens, each to be made one vector, of which so many `dimensions` are wanted (None: all)."""

    id: str
    inputs: Sequence[str | tuple[int, ...]]
    salt: str = ""
    dimensions: int | None = None

    def check_width(self, width: int) -> None:
        """Raises InvalidRequestError where more is wanted than the model's vectors have."""
        if self.dimensions is not None and self.dimensions > width:
            message = f"The model's vectors have {width} elements: ask for at most so many."
            raise InvalidRequestError("output_dimension", message)
