"""A whole platform in this process, with a database, somebody who pays, and offerings of other servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from tests.billing.tenants import Tenant, add_tenant
from tests.gateway.other_makes import OtherMake
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.principal import Principal
from tramontane.accounts.secrets import Secret
from tramontane.api.platform import Platform
from tramontane.billing.lots import create_lot
from tramontane.billing.tables import Hold, Lot, UsageRow
from tramontane.catalogue.prices import PriceDraft, set_price
from tramontane.catalogue.providers import create_offering, create_provider
from tramontane.catalogue.store import ModelStore
from tramontane.gateway.answers import Answer, EventStream
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.providers.base import Provider
from tramontane.gateway.requests import Chat, Generation, Prompt, Sampling
from tramontane.storage.base import new_id
from tramontane.storage.database import Database

EURO = 10**9
PRICE = PriceDraft(input=2_000_000_000, cached_input=500_000_000, output=6_000_000_000)
"""Two euros for a million tokens of input, six for output."""

QUESTION = Chat([{"role": "user", "content": "Which wind blows beside the mistral?"}])


@dataclass
class Scene:
    """What a test works with."""

    db: Database
    platform: Platform
    tenant: Tenant
    principal: Principal

    async def offer(
        self,
        server: OtherMake,
        *,
        model: str = "m",
        region: str | None = "FR",
        operator: str = "Winds",
        price: PriceDraft | None = PRICE,
        key: str | None = None,
        key_header: str = "authorization",
        max_context: int | None = 4096,
    ) -> str:
        """An offering of a server of another make; its id."""
        fields: dict[str, Any] = {"name": f"P{new_id()[-12:]}", "base_url": server.url, "operator": operator}
        async with self.db.write() as session:
            provider = await create_provider(session, {**fields, "region": region, "key_header": key_header})
            if key is not None:
                provider.encrypted_key = self.platform.vault.encrypt(Secret(key), provider.id)
            offering = await create_offering(session, provider.id, model, "upstream-name", max_context)
            if price is not None:
                await set_price(session, offering.id, price)
        await self.platform.directory.refresh()
        return offering.id

    async def price_local(self) -> None:
        """The one model of this machine costs something from now on."""
        [offering] = self.platform.directory.all()
        async with self.db.write() as session:
            await set_price(session, offering.id, PRICE)
        await self.platform.directory.refresh()

    def under(self, **policy: Any) -> Principal:
        """The principal in a workspace with a policy."""
        return replace(self.principal, policy=policy)

    async def begin(
        self, prompt: Prompt = QUESTION, principal: Principal | None = None, model: str = "m", **sampling: Any
    ) -> tuple[EventStream, Exchange]:
        """An accepted request."""
        exchange = Exchange(new_id(), "/v1/chat/completions")
        generation = Generation(exchange.id, prompt, Sampling(**{"max_tokens": 100, **sampling}))
        stream = await self.platform.gateway.generate(principal or self.principal, model, generation, exchange)
        return stream, exchange

    async def ask(self, *args: Any, **kwargs: Any) -> tuple[Answer, Exchange]:
        """A whole answer, read from its stream."""
        stream, exchange = await self.begin(*args, **kwargs)
        answer = Answer(kwargs.get("n", 1))
        try:
            async for event in stream:
                answer.add(event)
        finally:
            await stream.aclose()
        return answer, exchange

    async def usage(self) -> Sequence[UsageRow]:
        """What is on the bill, once nothing is held any more."""
        while await self._count(Hold):
            await asyncio.sleep(0.005)
        async with self.db.read() as session:
            return (await session.scalars(select(UsageRow).order_by(UsageRow.settled_at))).all()

    async def money(self) -> tuple[int, int]:
        """Balance and held of all lots."""
        async with self.db.read() as session:
            balance, held = (await session.execute(select(func.sum(Lot.balance), func.sum(Lot.held)))).one()
        return int(balance), int(held)

    async def _count(self, table: Any) -> int:
        async with self.db.read() as session:
            return int(await session.scalar(select(func.count()).select_from(table)) or 0)


@asynccontextmanager
async def scene(
    db: Database, *, money: int = EURO, local: Mapping[str, Provider] | None = None
) -> AsyncIterator[Scene]:
    """Opened and closed as the server does it. `local`: models of this machine, by name."""
    async with db.write() as session:
        tenant = await add_tenant(session)
        if money:
            await create_lot(
                session, organisation_id=tenant.organisation_id, kind="credit", name="credit", amount=money
            )
    metrics = Metrics()
    home = db.file.parent if db.file is not None else None
    assert home is not None, "these tests need SQLite: where the money is, is not what they are about"
    platform = Platform(db, Authenticator(db), list((local or {}).values()), metrics, ModelStore(home))
    await platform.open(list(local or {}))
    try:
        yield Scene(db, platform, tenant, tenant.principal())
    finally:
        platform.expect_end()
        await platform.close()
