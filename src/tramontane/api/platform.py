"""What every route works with: the rooms of one running server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast

from starlette.requests import Request

from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.oidc import IdentityProvider, OidcSettings
from tramontane.accounts.principal import Principal
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sign_in import SignIns
from tramontane.accounts.vault import Vault
from tramontane.api.logs import correlation_id, log_request
from tramontane.billing.meter import Meter
from tramontane.billing.rates import RateLimits
from tramontane.billing.webhooks import Webhooks
from tramontane.catalogue.directory import Directory, ProviderFacts
from tramontane.catalogue.local import ensure_local_offerings
from tramontane.catalogue.store import ModelStore
from tramontane.conversations.answers import Answers
from tramontane.gateway.dispatching import Dispatcher
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.gateway import Gateway
from tramontane.gateway.health import Health
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.probing import Prober
from tramontane.gateway.providers.base import Provider
from tramontane.gateway.providers.openai_compatible.provider import OpenAICompatible
from tramontane.outbound.client import Outbound
from tramontane.storage.database import Database

if TYPE_CHECKING:  # it brings PyTorch, which takes seconds to import, and not every server has an engine
    from tramontane.gateway.deployments import Deployments

_WEBHOOKS_TO_PRIVATE = "TRAMONTANE_WEBHOOKS_TO_PRIVATE"


@dataclass
class Platform:
    """One server's state: `open` after the database's upgrade, and `close` when the providers have ended."""

    database: Database
    authenticator: Authenticator
    providers: Sequence[Provider]  # of this machine
    metrics: Metrics
    store: ModelStore
    draining: bool = False  # set once the server has been asked to end: nothing new begins
    deployments: Deployments | None = None  # of models that come and go; set by a server that has an engine
    sign_ins: SignIns = field(default_factory=SignIns)
    directory: Directory = field(init=False)
    rates: RateLimits = field(init=False)
    meter: Meter = field(init=False)
    health: Health = field(init=False)
    outbound: Outbound = field(init=False)
    remote: OpenAICompatible = field(init=False)
    gateway: Gateway = field(init=False)
    answers: Answers = field(init=False)

    def __post_init__(self) -> None:
        self.directory, self.rates = Directory(self.database), RateLimits(self.database)
        self.meter, self.health = Meter(self.database), Health()
        self.outbound = Outbound(public_means_public=os.environ.get(_WEBHOOKS_TO_PRIVATE) != "1")
        self.remote = remote = OpenAICompatible(self.outbound, self._key_of)
        dispatcher = Dispatcher(self.directory, self.rates, self.meter, self.health, self.providers, remote)
        self.gateway = Gateway(self.providers, self.metrics, dispatcher)
        self.answers = Answers(self.database, self.gateway, self._record_answer)
        self._prober = Prober(self.directory, self.health, remote)
        self._running: list[asyncio.Task[None]] = []

    @cached_property
    def identity_provider(self) -> IdentityProvider | None:
        """By which people may sign in, where TRAMONTANE_OIDC_ISSUER names one."""
        settings = OidcSettings.read(os.environ)
        return None if settings is None else IdentityProvider(settings, self.outbound)

    @cached_property
    def vault(self) -> Vault:
        """What keeps secrets that must be read again."""
        return Vault.open(self.store.home)

    async def open(self, served: Iterable[str]) -> list[str]:
        """Makes everything ready for requests to the models that this machine serves.

        Recovers what processes that died had left unsettled. Returns what the user should know.
        """
        _ = self.vault, self.identity_provider  # which take their secrets out of the environment
        async with self.database.write() as session:
            said = await ensure_local_offerings(session, served)
        await self.directory.open()
        await self.rates.refresh()
        await self.meter.open()
        await self.answers.open()
        webhooks = Webhooks(self.database, self.outbound, self.vault)
        runs = (self.rates.run(), self._prober.run(), webhooks.run())
        self._running = [asyncio.create_task(work) for work in runs]
        return said

    async def close(self) -> None:
        """Settles and keeps what is not yet; answers and engines have ended by now."""
        for task in self._running:
            task.cancel()
        await self.meter.close()
        await self.directory.close()
        await self.outbound.close()
        await self.authenticator.close()

    def expect_end(self) -> None:
        """From now on what breaks off is interrupted, not failed. From any thread."""
        self.answers.expect_end()
        self.gateway.expect_end()

    def _key_of(self, provider: ProviderFacts) -> Secret | None:
        stored = provider.encrypted_key
        return None if stored is None else self.vault.decrypt(stored, provider.id)

    def _record_answer(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Counts and logs an answer of a conversation as a request of its own."""
        self.metrics.record(exchange, status, seconds)
        correlation_id.set(exchange.id)  # of the task that wrote it
        log_request(exchange, "RUN", status, seconds)


def platform_of(request: Request) -> Platform:
    """The server's state."""
    return cast(Platform, request.app.state.platform)


def exchange_of(request: Request) -> Exchange:
    """The record of this request."""
    return cast(Exchange, request.scope["state"]["exchange"])


def principal_of(request: Request) -> Principal:
    """Who asks; set by `AuthenticatedRoute` before anything of the body is read."""
    return cast(Principal, request.scope["state"]["principal"])
