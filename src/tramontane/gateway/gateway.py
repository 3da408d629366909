"""A request to a deployment: which provider serves which model. The only door through which `api/` reaches models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tramontane.accounts.principal import Principal
from tramontane.errors import InvalidRequestError, UnknownModelError
from tramontane.gateway.answers import Embeddings, Event, EventStream
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.dispatching import Dispatcher, Explanation, not_ready, unknown_model
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.policy import Policy
from tramontane.gateway.providers.base import Provider
from tramontane.gateway.requests import EmbeddingJob, Generation, Prompt


class Gateway:
    """Finds the provider of a model, passes requests on, and observes what comes back.

    With a dispatcher each request is routed, limited and paid for, and needs a principal. Without one the models of
    `providers` serve whoever asks: for commands that work on this machine's models, without a database.
    """

    def __init__(self, providers: Sequence[Provider], metrics: Metrics, dispatcher: Dispatcher | None = None) -> None:
        self._providers = providers
        self._metrics = metrics
        self._dispatcher = dispatcher

    def cards(self, principal: Principal | None = None) -> list[ModelCard]:
        """Every model that is offered, ready or not; for a principal those that its key may use."""
        if self._dispatcher is not None:
            return self._dispatcher.cards(principal)
        return [card for provider in self._providers for card in provider.cards()]

    def card(self, model: str, principal: Principal | None = None) -> ModelCard:
        """The card of a model; raises UnknownModelError with the nearest names."""
        name = model if self._dispatcher is None else self._dispatcher.resolve(model)
        cards = self.cards(principal)
        found = next((card for card in cards if card.name == name), None)
        if found is None:
            raise UnknownModelError(unknown_model(model, [card.name for card in cards]))
        return found

    def explain(self, principal: Principal, model: str, policy: Policy | None = None) -> Explanation:
        """Where a request would go now, and why not elsewhere; needs a dispatcher, and raises as its `explain` does."""
        assert self._dispatcher is not None
        return self._dispatcher.explain(principal, model, policy)

    def expect_end(self) -> None:
        """From now on what breaks off is interrupted, not failed. From any thread."""
        if self._dispatcher is not None:
            self._dispatcher.expect_end()

    async def generate(
        self, principal: Principal | None, model: str, generation: Generation, exchange: Exchange
    ) -> EventStream:
        """Accepts a request, and notes in `exchange` what becomes of it.

        Raises UnknownModelError, ModelNotReadyError, InvalidRequestError or QueueFullError; with a dispatcher also as
        `Dispatcher.generate` does.
        """
        if self._dispatcher is None:
            prepared = await self._ready(model, exchange).prepare(model, generation)
            stream = await prepared.generate()
        else:
            stream = await self._dispatcher.generate(_known(principal), model, generation, exchange)
        exchange.prompt_tokens += stream.num_prompt_tokens
        exchange.notes += stream.notes
        exchange.on_gap = self._metrics.gap_observer(exchange.model)
        return _Observed(stream, exchange)

    async def embed(self, principal: Principal | None, model: str, job: EmbeddingJob, exchange: Exchange) -> Embeddings:
        """One vector for each input; raises as `generate` does."""
        if self._dispatcher is None:
            prepared = await self._ready(model, exchange).prepare_embedding(model, job)
            embeddings = await prepared.embed()
        else:
            embeddings = await self._dispatcher.embed(_known(principal), model, job, exchange)
        exchange.prompt_tokens = embeddings.num_tokens
        return embeddings

    async def count(self, principal: Principal | None, model: str, prompt: Prompt, exchange: Exchange) -> int:
        """How many tokens the model would be given; no fewer, where another server tells them."""
        if self._dispatcher is None:
            return len(await self.tokenize(principal, model, prompt, exchange))
        return await self._dispatcher.count(_known(principal), model, prompt, exchange)

    async def tokenize(self, principal: Principal | None, model: str, prompt: Prompt, exchange: Exchange) -> list[int]:
        """The tokens that the model would be given; raises InvalidRequestError where it computes elsewhere."""
        provider, name = self._local(principal, model, exchange)
        return await provider.tokenize(name, prompt)

    async def detokenize(self, principal: Principal | None, model: str, tokens: list[int], exchange: Exchange) -> str:
        """The text of the tokens; raises InvalidRequestError where the model computes elsewhere."""
        provider, name = self._local(principal, model, exchange)
        return await provider.detokenize(name, tokens)

    def _local(self, principal: Principal | None, model: str, exchange: Exchange) -> tuple[Provider, str]:
        if self._dispatcher is None:
            return self._ready(model, exchange), model
        found = self._dispatcher.local(_known(principal), model, exchange)
        if found is None:
            raise InvalidRequestError(
                "model", f"The model {model!r} computes elsewhere: its tokens are not known here."
            )
        return found

    def _ready(self, model: str, exchange: Exchange) -> Provider:
        for provider in self._providers:
            for card in provider.cards():
                if card.name == model:
                    exchange.model = model  # and not before: what clients invent is no label of a metric
                    if card.state != "ready":
                        raise not_ready(model, card)
                    return provider
        raise UnknownModelError(unknown_model(model, [card.name for card in self.cards()]))


def _known(principal: Principal | None) -> Principal:
    """Where requests are paid for, nobody's is served."""
    if principal is None:
        raise TypeError("A request that is metered needs a principal.")
    return principal


class _Observed:
    """A stream whose events are noted as they pass."""

    def __init__(self, stream: EventStream, exchange: Exchange) -> None:
        self._stream, self._exchange = stream, exchange
        self.num_prompt_tokens, self.notes = stream.num_prompt_tokens, stream.notes
        self._counted: Counter[int] = Counter()  # tokens of each choice

    def __aiter__(self) -> _Observed:
        return self

    async def __anext__(self) -> Event:
        event = await self._stream.__anext__()
        self._exchange.observe(event)
        self._counted[event.index] += event.num_tokens
        if event.usage is not None:  # what other servers take is estimated until they say it
            self._exchange.completion_tokens += event.usage.output - self._counted[event.index]
            if event.index == 0:
                self._exchange.prompt_tokens += event.usage.prompt - self.num_prompt_tokens
        return event

    async def aclose(self) -> None:
        """Cancels the request, unless every choice has ended."""
        await self._stream.aclose()
