"""A request to a deployment: which provider serves which model. The only door through which `api/` reaches models."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tramontane.errors import ModelNotReadyError, UnknownModelError
from tramontane.gateway.answers import Embeddings, Event, EventStream
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.providers.base import Provider
from tramontane.gateway.requests import EmbeddingJob, Generation, Prompt


class Gateway:
    """Finds the provider of a model, passes requests on, and observes what comes back."""

    def __init__(self, providers: Sequence[Provider], metrics: Metrics) -> None:
        self._providers = providers
        self._metrics = metrics

    def cards(self) -> list[ModelCard]:
        """Every model that is offered, ready or not."""
        return [card for provider in self._providers for card in provider.cards()]

    def card(self, model: str) -> ModelCard:
        """The card of a model; raises UnknownModelError with the nearest names."""
        return self._find(model)[1]

    async def generate(self, model: str, generation: Generation, exchange: Exchange) -> EventStream:
        """Accepts a request, and notes in `exchange` what becomes of it.

        Raises UnknownModelError, ModelNotReadyError, InvalidRequestError or QueueFullError.
        """
        provider = self._ready(model, exchange)
        stream = await provider.generate(model, generation)
        exchange.prompt_tokens += stream.num_prompt_tokens
        exchange.notes += stream.notes
        exchange.on_gap = self._metrics.gap_observer(model)
        return _Observed(stream, exchange)

    async def embed(self, model: str, job: EmbeddingJob, exchange: Exchange) -> Embeddings:
        """One vector for each input; raises as `generate` does."""
        embeddings = await self._ready(model, exchange).embed(model, job)
        exchange.prompt_tokens = embeddings.num_tokens
        return embeddings

    async def tokenize(self, model: str, prompt: Prompt, exchange: Exchange) -> list[int]:
        """The tokens that the model would be given."""
        return await self._ready(model, exchange).tokenize(model, prompt)

    async def detokenize(self, model: str, tokens: list[int], exchange: Exchange) -> str:
        """The text of the tokens."""
        return await self._ready(model, exchange).detokenize(model, tokens)

    def _ready(self, model: str, exchange: Exchange) -> Provider:
        provider, card = self._find(model)
        exchange.model = model
        if card.state == "failed":
            raise ModelNotReadyError(f"The model {model!r} could not be loaded; the server's log says why.")
        if card.state == "loading":
            raise ModelNotReadyError(f"The model {model!r} is being loaded ({card.progress:.0%}); try again soon.")
        return provider

    def _find(self, model: str) -> tuple[Provider, ModelCard]:
        for provider in self._providers:
            for card in provider.cards():
                if card.name == model:
                    return provider, card
        raise UnknownModelError(self._unknown(model))

    def _unknown(self, model: str) -> str:
        names = [card.name for card in self.cards()]
        nearest = difflib.get_close_matches(model[:200], names, n=3, cutoff=0.4) or names[:3]
        suggestion = f"; there is {' or '.join(map(repr, nearest))}" if nearest else "; none is served"
        return f"No model {model[:200]!r} is served here{suggestion}."


class _Observed:
    """A stream whose events are noted as they pass."""

    def __init__(self, stream: EventStream, exchange: Exchange) -> None:
        self._stream, self._exchange = stream, exchange
        self.num_prompt_tokens, self.notes = stream.num_prompt_tokens, stream.notes

    def __aiter__(self) -> _Observed:
        return self

    async def __anext__(self) -> Event:
        event = await self._stream.__anext__()
        self._exchange.observe(event)
        return event

    async def aclose(self) -> None:
        """Cancels the request, unless every choice has ended."""
        await self._stream.aclose()
