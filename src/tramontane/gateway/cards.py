"""A model as its users see it: what it is called, what it can do, whether it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["loading", "ready", "failed"]

LOCAL = "local"
"""The location of models that compute on this machine."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about a served model."""

    name: str
    created: int  # seconds since 1970: when its files were written
    owned_by: str
    description: str
    max_context: int  # tokens, prompt and answer together
    num_parameters: int
    quantization: str
    chat: bool
    fim: bool
    tools: bool
    thinking: bool
    pooling: str  # how its embeddings are made, in words
    tokenizer: str
    state: State = "ready"
    progress: float = 1.0  # share of the weights that are loaded
    licence: str | None = None
    languages: tuple[str, ...] = ()
    location: str = LOCAL
    summary: str | None = None
    focus: bool = False  # of documents it is best given the one sentence that fits a question
