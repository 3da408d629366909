"""Model cards, as clients of both families read them."""

from __future__ import annotations

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
    aliases: list[str] = []
    capabilities: Capabilities
    default_model_temperature: float
    type: Literal["base"] = "base"
    parameters: int = Field(description="How many weights it has.")
    quantization: str
    embedding_pooling: str = Field(description="How its embeddings are made.")
    tokenizer: str
    state: Literal["loading", "ready", "failed"]


class CardList(BaseModel):
    """All served models."""

    object: Literal["list"]
    data: list[Card]


class Deleted(BaseModel):
    """A model whose files are gone."""

    id: str
    object: Literal["model"]
    deleted: bool
