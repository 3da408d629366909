"""What the engine is asked for, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tramontane.engine.grammar import Grammar
from tramontane.errors import InvalidRequestError
from tramontane.model.pooling import Pooling
from tramontane.tokenizer.incremental import Control

FinishReason = Literal["stop", "length", "model_length", "cancelled", "error"]
MAX_CHOICES = 128
MAX_TOP_LOGPROBS = 100
MAX_BIASED_TOKENS = 1024
MAX_STOPS, LONGEST_STOP = 16, 256  # each token of an answer is looked at for each of them


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are chosen. Temperature 0 is greedy."""

    temperature: float = 1.0
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
    ignore_eos: bool = False

    def validate(self, vocab_size: int) -> None:
        """Raises InvalidRequestError by the name of the first bad field."""
        whole = ("top_k", "min_tokens", "n", "max_tokens", "logprobs", "prompt_logprobs")
        for name in whole:
            value = getattr(self, name)
            if not isinstance(value, int | None):
                raise InvalidRequestError(name, f"{name} is {value!r}, and must be a whole number.")
        bounds: list[tuple[str, float, float, float]] = [
            ("temperature", self.temperature, 0, 100),
            ("top_p", self.top_p, 1e-9, 1),
            ("top_k", self.top_k, 0, vocab_size),
            ("min_tokens", self.min_tokens, 0, math.inf),
            ("n", self.n, 1, MAX_CHOICES),
            ("presence_penalty", self.presence_penalty, -2, 2),
            ("frequency_penalty", self.frequency_penalty, -2, 2),
            ("repetition_penalty", self.repetition_penalty, 1e-6, 100),
            ("max_tokens", 1 if self.max_tokens is None else self.max_tokens, 1, math.inf),
            ("logprobs", self.logprobs or 0, 0, MAX_TOP_LOGPROBS),
            ("prompt_logprobs", self.prompt_logprobs or 0, 0, MAX_TOP_LOGPROBS),
        ]
        for name, value, low, high in bounds:
            if not low <= value <= high:  # NaN fails as well
                raise InvalidRequestError(name, f"{name} is {value}, and must lie between {low:g} and {high:g}.")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidRequestError(
                "min_tokens", f"min_tokens ({self.min_tokens}) is above max_tokens ({self.max_tokens})."
            )
        if any(not text for text in self.stop):
            raise InvalidRequestError("stop", "A stop string is empty; leave it out or give it a character.")
        if len(self.stop) > MAX_STOPS or any(len(text) > LONGEST_STOP for text in self.stop):
            raise InvalidRequestError(
                "stop", f"There may be {MAX_STOPS} stop strings of {LONGEST_STOP} characters at most."
            )
        if len(self.logit_bias) > MAX_BIASED_TOKENS:
            raise InvalidRequestError("logit_bias", f"logit_bias names more than {MAX_BIASED_TOKENS} tokens.")
        for token, bias in self.logit_bias.items():
            if not 0 <= token < vocab_size:
                raise InvalidRequestError(
                    "logit_bias", f"Token {token} is not in the vocabulary of {vocab_size} tokens."
                )
            if not -100 <= bias <= 100:
                raise InvalidRequestError("logit_bias", f"The bias of token {token} is {bias}, outside -100 to 100.")


@dataclass(slots=True)
class Request:
    """One prompt, and either how to continue it (`sampling`) or how to pool it into a vector (`pooling`)."""

    id: str
    prompt: Sequence[int]
    sampling: SamplingParams | None = None
    pooling: Pooling | None = None
    grammar: Grammar | None = None
    # Prefixes are shared between requests of equal salts only; opaque to the engine.
    salt: str = ""
    # The output goes on with a text that the prompt ends with, whose blank must not be dropped (`prefix`, FIM).
    continues_text: bool = False
    # The tokens of that text, where it is the beginning of what the grammar describes.
    begun: Sequence[int] = ()
    # What much of the output will probably look like: it comes the faster, and is the same.
    prediction: Sequence[int] = ()

    def __post_init__(self) -> None:
        if (self.sampling is None) == (self.pooling is None):
            raise InvalidRequestError("sampling", "A request is either sampled or pooled: give one of the two.")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural logarithm of a token's probability before penalties and temperature, and of the best tokens'."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one choice."""

    prompt: int
    cached: int
    output: int
    queue_seconds: float = 0.0  # from its arrival until it was first computed
    accepted_predictions: int = 0  # predicted tokens that were computed ahead and came true
    rejected_predictions: int = 0


@dataclass(slots=True)
class Output:
    """What one step adds to one choice of a request; the last one has a finish reason."""

    request_id: str
    index: int
    token_ids: list[int] = field(default_factory=list)
    pieces: list[str | Control] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    prompt_logprobs: list[TokenLogprob] | None = None  # of the prompt's second token and the following, once
    num_cached: int | None = None  # prompt tokens that were found computed; with the first token
    embedding: list[float] | None = None
    finish_reason: FinishReason | None = None
    # For "stop": the stop string that ended it. For "error": what went wrong.
    detail: str | None = None
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The pieces without control tokens."""
        return "".join(piece for piece in self.pieces if isinstance(piece, str))
