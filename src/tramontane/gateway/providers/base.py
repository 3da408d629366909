"""What every provider of models can do, whether it computes here or calls somebody else."""

from __future__ import annotations

from typing import Protocol

from tramontane.gateway.answers import Embeddings, EventStream
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.requests import EmbeddingJob, Generation, Prompt


class Provider(Protocol):
    """Models under one roof. Every method raises InvalidRequestError for a request that the model cannot serve."""

    def cards(self) -> list[ModelCard]:
        """The models that it offers, ready or not."""

    async def generate(self, model: str, generation: Generation) -> EventStream:
        """Accepts a request, or refuses it at once (QueueFullError where too many wait)."""

    async def embed(self, model: str, job: EmbeddingJob) -> Embeddings:
        """One vector for each input."""

    async def tokenize(self, model: str, prompt: Prompt) -> list[int]:
        """The tokens that the model would be given."""

    async def detokenize(self, model: str, tokens: list[int]) -> str:
        """The text of the tokens, with control tokens by their names."""
