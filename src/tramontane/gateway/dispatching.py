"""A request on its way: routed, admitted, paid for in advance, tried, and metered.

    plan    which offerings, in which order               routing.py
    admit   requests a second, tokens a minute            billing.rates
    try     one offering after another, until one begins  providers/
    hold    the money for what it may take at most        beginning.py, billing.meter
    settle  what was delivered                            metering.py

The order matters: no byte is delivered that nobody pays for, and after the first byte nothing is tried again.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tramontane.accounts.principal import Principal
from tramontane.billing.meter import Meter, Metered
from tramontane.billing.rates import Admission, RateLimits
from tramontane.billing.requests import Ask
from tramontane.billing.tables import Outcome
from tramontane.catalogue.directory import Directory, Offering, Resolved
from tramontane.errors import (
    InvalidRequestError,
    ModelNotReadyError,
    NotAllowedError,
    PaymentRequiredError,
    QueueFullError,
    TramontaneError,
    UnavailableError,
    UnknownModelError,
)
from tramontane.gateway.announcing import PAID_TOKENS_HEADER, ROUTE_HEADER, lifecycle_headers, route_header
from tramontane.gateway.answers import Embeddings, EventStream
from tramontane.gateway.beginning import begin, released_on_failure
from tramontane.gateway.cards import LOCAL, ModelCard
from tramontane.gateway.errors import OfferingFailedError
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.health import Health
from tramontane.gateway.metering import MeteredStream
from tramontane.gateway.policy import Policy, parse_policy
from tramontane.gateway.providers.base import Prepared, PreparedEmbedding, Provider
from tramontane.gateway.providers.openai_compatible.provider import OpenAICompatible
from tramontane.gateway.requests import EmbeddingJob, Generation, Prompt
from tramontane.gateway.routing import Candidate, Hindrance, Plan, plan, refusal
from tramontane.storage.base import now

T = TypeVar("T")

# Of a minute's tokens a request that names no limit reserves an answer of this length; what it took is put right later.
_USUAL_ANSWER = 1024


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a request would go, or why it would go nowhere."""

    resolved: Resolved
    plan: Plan
    problem: TramontaneError | None


class Dispatcher:
    """Sends each request to an offering of its model."""

    def __init__(
        self,
        directory: Directory,
        rates: RateLimits,
        meter: Meter,
        health: Health,
        local: Sequence[Provider],
        remote: OpenAICompatible,
    ) -> None:
        self._directory, self._rates, self._meter, self.health = directory, rates, meter, health
        self._local, self._remote = local, remote
        self.is_ending = False

    def expect_end(self) -> None:
        """From now on answers that break off are interrupted; those that other servers write are. From any thread."""
        self.is_ending = True
        self._remote.cut()

    # ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────

    def cards(self, principal: Principal | None) -> list[ModelCard]:
        """One card for each model that is offered, ready or not; for a principal those that its key may use."""
        found: dict[str, ModelCard] = {}
        allowed = None if principal is None else self._allowed(principal)
        for offering in self._directory.all():
            shown = offering.enabled and offering.provider.enabled and (allowed is None or offering.model in allowed)
            card = self._card(offering) if shown else None
            if card is None or self._directory.resolve(offering.model).stage == "retired":
                continue
            known = found.get(offering.model)
            if known is None:
                found[offering.model] = card
            else:  # whichever offering serves: what fits one must fit all
                first, second = (known, card) if known.location == LOCAL else (card, known)
                found[offering.model] = replace(first, max_context=min(first.max_context, second.max_context))
        return list(found.values())

    def resolve(self, model: str) -> str:
        """The model that a name means now."""
        return self._directory.resolve(model).model

    def explain(self, principal: Principal, model: str, policy: Policy | None) -> Explanation:
        """Where a request would go now, under a policy (None: the workspace's), and why not elsewhere.

        Raises UnknownModelError or NotAllowedError.
        """
        resolved = self._resolve(principal, model)
        made = self._plan(resolved, policy or policy_of(principal))
        return Explanation(resolved, made, refusal(resolved, made))

    def _plan(self, resolved: Resolved, policy: Policy) -> Plan:
        offerings = self._directory.offerings(resolved.model)
        hindrances = {o.id: found for o in offerings if (found := self._hindrance(o)) is not None}
        latencies = {o.id: known for o in offerings if (known := self.health.latency(o.id)) is not None}
        return plan(resolved, offerings, policy, now(), hindrances, latencies)

    def _card(self, offering: Offering) -> ModelCard | None:
        """None where this machine would serve it, and does not at present."""
        if offering.provider.kind != "local":
            return self._remote.card(offering)
        found = self._running(offering)
        return None if found is None else replace(found[1], name=offering.model)

    def _running(self, offering: Offering) -> tuple[Provider, ModelCard] | None:
        for provider in self._local:
            for card in provider.cards():
                if card.name == offering.upstream_model:
                    return provider, card
        return None

    def _hindrance(self, offering: Offering) -> Hindrance | None:
        if offering.provider.kind == "local":
            found = self._running(offering)
            if found is None:
                return "off", "it does not run on this machine at present"
            match found[1].state:
                case "loading":
                    return "down", f"it is being loaded ({found[1].progress:.0%})"
                case "failed":
                    return "down", "it could not be loaded; the server's log says why"
        problem = self.health.problem(offering.id)
        return None if problem is None else ("down", problem)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def generate(
        self, principal: Principal, model: str, generation: Generation, exchange: Exchange
    ) -> EventStream:
        """The events of an accepted request, which is paid for as they are read; the caller closes it.

        Raises UnknownModelError, ModelNotReadyError, InvalidRequestError, QueueFullError, NotAllowedError,
        RateLimitedError, PaymentRequiredError or UnavailableError.
        """
        passage = self._enter(principal, model, generation.id, exchange)
        sampling = generation.sampling

        async def attempt(candidate: Candidate) -> EventStream:
            prepared = await self._prepare(candidate.offering, generation)
            room = max(1, prepared.max_output)
            most = room if sampling.max_tokens is None else min(sampling.max_tokens, room)
            usual = min(most, _USUAL_ANSWER) if sampling.max_tokens is None else most
            passage.admit(prepared.num_prompt_tokens + sampling.n * usual)
            ask = passage.ask(candidate, prepared.num_prompt_tokens, sampling.n * most)
            is_local = candidate.offering.provider.kind == "local"
            begun = await begin(
                self._meter,
                ask,
                prepared,
                lambda metered: passage.paid_tokens(metered, sampling.n, most),
                beside=is_local,  # what another server begins is on its bill
            )
            assert passage.admission is not None
            watcher = _Watcher(self, candidate.offering, begun.started)
            if not is_local:  # it was waited for
                watcher.begun()
            stream, metered = begun.stream, begun.metered
            return MeteredStream(stream, sampling.n, metered, passage.admission, watcher, counts_itself=is_local)

        return await self._first_that_begins(passage, attempt)

    async def embed(self, principal: Principal, model: str, job: EmbeddingJob, exchange: Exchange) -> Embeddings:
        """One vector for each input; raises as `generate` does. Its tokens are paid for when all are there."""
        passage = self._enter(principal, model, job.id, exchange)

        async def attempt(candidate: Candidate) -> Embeddings:
            prepared = await self._prepare_embedding(candidate.offering, job)
            passage.admit(prepared.num_prompt_tokens)
            metered = await self._meter.hold(passage.ask(candidate, prepared.num_prompt_tokens, 0))
            started = time.perf_counter()
            async with released_on_failure(metered):
                embeddings = await prepared.embed()
            self.health.note_first(candidate.offering.id, time.perf_counter() - started)
            self.health.note_success(candidate.offering.id)
            metered.count(embeddings.num_tokens, 0, 0)
            metered.settle("done", is_estimate=embeddings.is_estimate)
            assert passage.admission is not None
            passage.admission.correct(embeddings.num_tokens)
            return embeddings

        return await self._first_that_begins(passage, attempt)

    async def count(self, principal: Principal, model: str, prompt: Prompt, exchange: Exchange) -> int:
        """The tokens of a prompt; no fewer than there are, where the model's tokenizer is not here."""
        found = self.local(principal, model, exchange)
        if found is None:
            return await self._remote.count(prompt)
        provider, name = found
        return len(await provider.tokenize(name, prompt))

    def local(self, principal: Principal, model: str, exchange: Exchange) -> tuple[Provider, str] | None:
        """Which provider of this machine has the model, and as what; None where another server has it alone.

        Raises UnknownModelError, NotAllowedError or ModelNotReadyError.
        """
        resolved = self._resolve(principal, model)
        exchange.model = resolved.model
        offerings = self._directory.offerings(resolved.model)
        for offering in offerings:
            if offering.provider.kind == "local" and (found := self._running(offering)) is not None:
                if found[1].state == "ready":
                    return found[0], offering.upstream_model
                if all(other.provider.kind == "local" for other in offerings):
                    raise not_ready(resolved.model, found[1])
        return None

    def _resolve(self, principal: Principal, model: str) -> Resolved:
        """Raises UnknownModelError, or NotAllowedError where the key may not use it."""
        resolved = self._directory.resolve(model)
        if not self._directory.offerings(resolved.model):
            raise UnknownModelError(unknown_model(model, [card.name for card in self.cards(principal)]))
        allowed = self._allowed(principal)
        if allowed is not None and resolved.model not in allowed:
            raise NotAllowedError(f"This key may not use the model {model[:200]!r}.", "model_not_allowed")
        return resolved

    def _allowed(self, principal: Principal) -> set[str] | None:
        """The models that a key may use, whichever names it was given; None: all."""
        return None if principal.models is None else {self._directory.resolve(name).model for name in principal.models}

    def _enter(self, principal: Principal, model: str, request_id: str, exchange: Exchange) -> _Passage:
        resolved = self._resolve(principal, model)
        exchange.model = resolved.model  # and not before: what clients invent is no label of a metric
        exchange.headers |= lifecycle_headers(resolved)
        made = self._plan(resolved, policy_of(principal))
        refused = refusal(resolved, made)
        if isinstance(refused, UnavailableError):
            waiting = [self._running(left.offering) for left in made.left_out if left.why == "down"]
            if waiting[0] is not None and all(waiting):  # all of this machine: it says how far it is
                refused = not_ready(resolved.model, waiting[0][1])
        if refused is not None:
            raise refused
        return _Passage(self._rates, self._meter, principal, resolved.model, request_id, exchange, made)

    async def _first_that_begins(self, passage: _Passage, attempt: Callable[[Candidate], Awaitable[T]]) -> T:
        """What the first offering that does not fail gives; nothing of it has been delivered yet."""
        try:
            return await self._try_each(passage, attempt)
        except BaseException:
            if passage.admission is not None:
                passage.admission.correct(0)
            raise

    async def _try_each(self, passage: _Passage, attempt: Callable[[Candidate], Awaitable[T]]) -> T:
        busy: TramontaneError | None = None
        problems: list[str] = []
        for number, candidate in enumerate(passage.plan.order, start=1):
            offering = candidate.offering
            if not self.health.begin(offering.id):  # another request is trying it just now
                continue
            try:
                begun = await attempt(candidate)
            except OfferingFailedError as error:
                self.health.note_failure(offering.id, str(error))
                problems.append(f"{offering.provider.name}: {error}")
            except (QueueFullError, ModelNotReadyError) as error:
                busy = error
            except BaseException:
                self.health.note_nothing(offering.id)
                raise
            else:
                passage.exchange.headers[ROUTE_HEADER] = route_header(offering, number)
                passage.exchange.notes += problems
                return begun
        passage.exchange.failure = "; ".join(problems) or None
        raise busy or UnavailableError(
            f"No offering of {passage.model[:200]!r} could serve this request: try again soon.", "no_route_available"
        )

    async def _prepare(self, offering: Offering, generation: Generation) -> Prepared:
        if offering.provider.kind != "local":
            return await self._remote.prepare(offering, generation)
        return await self._provider(offering).prepare(offering.upstream_model, generation)

    async def _prepare_embedding(self, offering: Offering, job: EmbeddingJob) -> PreparedEmbedding:
        if offering.provider.kind != "local":
            return await self._remote.prepare_embedding(offering, job)
        return await self._provider(offering).prepare_embedding(offering.upstream_model, job)

    def _provider(self, offering: Offering) -> Provider:
        found = self._running(offering)
        if found is None:  # stopped just now
            raise ModelNotReadyError(f"The model {offering.model!r} does not run on this machine at present.")
        return found[0]


class _Watcher:
    """Notes of an offering's health how one answer fared."""

    def __init__(self, dispatcher: Dispatcher, offering: Offering, started: float) -> None:
        self._dispatcher, self._offering, self._started = dispatcher, offering, started
        self._has_begun = False

    @property
    def is_ending(self) -> bool:
        """Whether the server ends."""
        return self._dispatcher.is_ending

    def begun(self) -> None:
        """The first token has come."""
        if not self._has_begun:
            self._has_begun = True
            self._dispatcher.health.note_first(self._offering.id, time.perf_counter() - self._started)

    def ended(self, outcome: Outcome, problem: str) -> None:
        """Of the own engine no failure is noted: its state tells, and there is none to take its place."""
        health, id_ = self._dispatcher.health, self._offering.id
        if outcome == "failed" and self._offering.provider.kind != "local":
            health.note_failure(id_, problem or "The answer ended too early.")
        elif outcome == "done" or (outcome == "hung_up" and self._has_begun):
            health.note_success(id_)


@dataclass(slots=True)
class _Passage:
    """One request on its way through."""

    rates: RateLimits
    meter: Meter
    principal: Principal
    model: str
    request_id: str
    exchange: Exchange
    plan: Plan
    admission: Admission | None = None

    def admit(self, tokens: int) -> None:
        """Once, however many offerings are tried; raises RateLimitedError or InvalidRequestError."""
        if self.admission is None:
            self.admission = self.rates.admit(self.principal, tokens, requests=0 if self.exchange.is_admitted else 1)
            self.exchange.is_admitted = True
            self.exchange.headers |= self.admission.headers

    def ask(self, candidate: Candidate, prompt_tokens: int, max_output: int) -> Ask:
        """For the money that it may take."""
        assert self.admission is not None
        return Ask(
            request_id=self.request_id,
            principal=self.principal,
            route=self.exchange.route,
            model=self.model,
            offering_id=candidate.offering.id,
            price=candidate.price,
            prompt_tokens=prompt_tokens,
            max_output=max_output,
            caps=self.admission.caps,
        )

    def paid_tokens(self, metered: Metered, num_choices: int, most: int) -> int | None:
        """How long each choice may be at most, where the money pays for less than was asked; says so."""
        if metered.max_output >= num_choices * most:
            return None
        each = metered.max_output // num_choices
        if each < 1:
            raise PaymentRequiredError(f"The money that is left does not pay for {num_choices} choices.", "no_money")
        self.exchange.notes.append(f"The money that is left pays for {each} tokens of output: the answer may be cut.")
        self.exchange.headers[PAID_TOKENS_HEADER] = str(each)
        return each


def policy_of(principal: Principal) -> Policy:
    """The workspace's; raises NotAllowedError where it is not understood, since a rule is never passed over."""
    try:
        return parse_policy(principal.policy)
    except InvalidRequestError as error:
        raise NotAllowedError(f"This workspace's policy cannot be followed: {error}", "no_route_allowed") from error


def not_ready(model: str, card: ModelCard) -> ModelNotReadyError:
    """A sentence for a model that is being loaded, or could not be."""
    if card.state == "failed":
        return ModelNotReadyError(f"The model {model!r} could not be loaded; the server's log says why.")
    return ModelNotReadyError(f"The model {model!r} is being loaded ({card.progress:.0%}); try again soon.")


def unknown_model(model: str, names: Sequence[str]) -> str:
    """A sentence with the nearest names."""
    nearest = difflib.get_close_matches(model[:200], names, n=3, cutoff=0.4) or names[:3]
    suggestion = f"; there is {' or '.join(map(repr, nearest))}" if nearest else "; none is served"
    return f"No model {model[:200]!r} is served here{suggestion}."
