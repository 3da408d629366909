"""Model cards, as clients of both families read them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class Capabilities(BaseModel):
    """What a model can do."""

    completion_chat: bool
    completion_fim: bool
    function_calling: bool
    reasoning: bool
    fine_tuning: bool = False
    vision: bool = False
    classification: bool = False


class Card(BaseModel):
    """A served model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    name: str
    description: str
    max_context_length: int
    aliases: list[str] = Field(description="That lead to it now.")
    deprecation: datetime | None = Field(description="From when on it is deprecated; null where nobody has said.")
    deprecation_replacement_model: str | None = Field(description="What to use then.")
    capabilities: Capabilities
    default_model_temperature: float
    type: Literal["base"] = "base"
    parameters: int = Field(description="How many weights it has.")
    quantization: str
    embedding_pooling: str = Field(description="How its embeddings are made.")
    tokenizer: str
    state: Literal["loading", "ready", "failed"]
    progress: float = Field(description="Share of its weights that are loaded, 0 to 1.")
    licence: str | None = Field(description="As its makers name it; null where nobody said.")
    languages: list[str] = Field(description="Codes of the languages that it was made for; empty where nobody said.")
    location: str = Field(description="Where it computes: `local` is this machine.")
    summary: str | None = Field(description="What it is for, in a sentence or two of its makers.")


class CardList(BaseModel):
    """All served models."""

    object: Literal["list"]
    data: list[Card]


class Deleted(BaseModel):
    """A model whose files are gone."""

    id: str
    object: Literal["model"]
    deleted: bool
