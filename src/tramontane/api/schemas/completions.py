"""The body of OpenAI's older completions, and of its answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from tramontane.api.schemas.common import SamplingFields, Texts, Usage


class CompletionRequest(SamplingFields):
    """A text to continue, or several; text or tokens."""

    prompt: Texts
    suffix: str | None = Field(None, description="Text after the gap, for models that fill in the middle.")
    echo: bool | None = Field(None, description="The answer begins with the prompt.")
    logprobs: int | None = Field(None, ge=0, le=100, description="Scores of each token and of so many others.")
    best_of: int | None = Field(None, ge=1, le=128)


class CompletionLogprobs(BaseModel):
    """Four lists of one length; the first token of an echoed prompt has no score."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One continuation."""

    index: int
    text: str
    finish_reason: Literal["stop", "length", "model_length", "error"] | None
    logprobs: CompletionLogprobs | None


class Completion(BaseModel):
    """Continuations of one or several prompts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | dict[str, Any]
