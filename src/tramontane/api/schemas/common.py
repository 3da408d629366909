"""What request bodies have in common: unknown fields are ignored and counted, nulls mean absent, ranges are named."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema

from tramontane.gateway.requests import DEFAULT_TEMPERATURE, Sampling

T = TypeVar("T")

# Fields that clients send and that mean nothing here: known, so that the metric of unknown ones stays telling.
_WITHOUT_EFFECT = frozenset({"user", "store", "service_tier", "prompt_cache_key", "stream_options", "modalities"})


class RequestBody(BaseModel):
    """A body. What it has beyond its fields is kept apart, to be counted."""

    model_config = ConfigDict(extra="allow")

    @property
    def ignored_fields(self) -> list[str]:
        """The names of fields that no one here knows."""
        return sorted(set(self.model_extra or {}) - _WITHOUT_EFFECT)


Metadata = Annotated[
    dict[str, Any] | None,
    Field(description="Up to 16 words of your own, which appear in the server's log and metrics."),
]


# A list ends at its first bad element: a million complaints would keep everybody else waiting.
class _FailFast(FailFast):
    __hash__ = object.__hash__  # unions ask for it


Many = Annotated[list[T], _FailFast()]

Texts = str | Many[str] | Many[int] | Many[Many[int]]
"""A text or its tokens, or several of either."""

Stop = Annotated[str | Many[str] | None, Field(description="End before this text, or before one of these.")]


class SamplingFields(RequestBody):
    """How to generate; the names of la Plateforme and of OpenAI's API, whichever a client prefers."""

    model: str = Field(description="The name of a served model, as GET /v1/models lists it.")
    temperature: float | None = Field(None, ge=0, le=2, description=f"0 is greedy. Default {DEFAULT_TEMPERATURE}.")
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=-1, description="0 or -1: no limit.")
    max_tokens: int | None = Field(None, ge=1)
    min_tokens: int | None = Field(None, ge=0)
    stop: Stop = None
    random_seed: int | None = Field(None, description="The same seed gives the same answer.")
    seed: int | None = Field(None, description="Another name of random_seed.")
    n: int | None = Field(None, ge=1, le=128, description="So many answers.")
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    logit_bias: dict[int, float] | None = Field(None, description="Token id → what is added to its score, ±100.")
    stream: bool | None = None
    metadata: Metadata = None

    def sampling(self, *, logprobs: int | None = None, prompt_logprobs: int | None = None) -> Sampling:
        """The neutral parameters; None means the default, as clients that send explicit nulls mean it."""
        default = Sampling()
        seed = self.random_seed if self.random_seed is not None else self.seed
        return Sampling(
            temperature=_or(self.temperature, default.temperature),
            top_p=max(_or(self.top_p, default.top_p), 1e-9),
            top_k=max(_or(self.top_k, 0), 0),
            max_tokens=self.max_tokens,
            min_tokens=_or(self.min_tokens, 0),
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            seed=seed,
            n=_or(self.n, 1),
            presence_penalty=_or(self.presence_penalty, 0.0),
            frequency_penalty=_or(self.frequency_penalty, 0.0),
            repetition_penalty=_or(self.repetition_penalty, 1.0),
            logit_bias=self.logit_bias or {},
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
        )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


class Usage(BaseModel):
    """Tokens that a request took. Exact, also for streams."""

    class Cached(BaseModel):
        """How many of the prompt's tokens were found in the prefix cache."""

        cached_tokens: int

    class Predicted(BaseModel):
        """How the prediction of a request fared, where it had one."""

        accepted_prediction_tokens: int
        rejected_prediction_tokens: int

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Cached
    completion_tokens_details: Predicted


class ErrorBody(BaseModel):
    """Every error but 401 and 422."""

    object: Literal["error"]
    message: str
    type: str
    param: str | None
    code: str | None
    correlation_id: str


class InvalidFields(BaseModel):
    """422: fields of a wrong type or range, each by its place."""

    class Details(BaseModel):
        """One entry a field."""

        detail: list[dict[str, Any]]

    object: Literal["error"]
    message: Details
    type: str
    param: str | None
    code: str | None
    correlation_id: str


class Unauthorized(BaseModel):
    """401: no key, or one that is not known."""

    detail: str
    correlation_id: str


def documented(schema: dict[str, Any]) -> WithJsonSchema:
    """How a field is shown in the API's description, where reading it is left to the tokenizer."""
    return WithJsonSchema(schema)
