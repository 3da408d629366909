"""What every provider of models can do, whether it computes here or calls somebody else."""

from __future__ import annotations

from typing import Protocol

from tramontane.gateway.answers import Embeddings, EventStream
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.requests import EmbeddingJob, Generation, Prompt


class Prepared(Protocol):
    """A request that may begin: what its prompt takes is known, and nothing has been computed for it yet."""

    num_prompt_tokens: int  # or, where they cannot be counted, no fewer than there are
    max_output: int  # tokens of one choice that the context has room for

    async def generate(self, max_tokens: int | None = None) -> EventStream:
        """Begins, or refuses at once (QueueFullError where too many wait); `max_tokens` None: as asked."""


class PreparedEmbedding(Protocol):
    """Texts that may be made vectors: what they take is known, and nothing has been computed yet."""

    num_prompt_tokens: int  # or, where they cannot be counted, no fewer than there are

    async def embed(self) -> Embeddings:
        """One vector for each input."""


class Provider(Protocol):
    """Models under one roof. Every method raises InvalidRequestError for a request that the model cannot serve."""

    def cards(self) -> list[ModelCard]:
        """The models that it offers, ready or not."""

    async def prepare(self, model: str, generation: Generation) -> Prepared:
        """Makes a request ready to begin."""

    async def prepare_embedding(self, model: str, job: EmbeddingJob) -> PreparedEmbedding:
        """Makes texts ready to be embedded."""

    async def tokenize(self, model: str, prompt: Prompt) -> list[int]:
        """The tokens that the model would be given."""

    async def detokenize(self, model: str, tokens: list[int]) -> str:
        """The text of the tokens, with control tokens by their names."""
