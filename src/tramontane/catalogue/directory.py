"""The catalogue as requests read it: names, offerings and prices in memory, never more than seconds old."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select

from tramontane.catalogue.family import by_name, family
from tramontane.catalogue.lifecycle import Lifecycle, lifecycle_of
from tramontane.catalogue.prices import Price
from tramontane.catalogue.tables import LifecycleRow, OfferingRow, PriceRow, ProviderKind, ProviderRow, Stage
from tramontane.storage.base import now
from tramontane.storage.database import Database

logger = logging.getLogger(__name__)

REFRESHED_EVERY: Final = 5.0
"""Seconds: at most so long does another process's change take to come into force here."""

_PAST_KEPT = timedelta(days=1)  # of prices: a clock that is put back finds what was in force

ALIAS_STAGES: Final[tuple[Stage, ...]] = ("available", "legacy")
"""Where an alias may lead: to what is, or was until lately, the generally available model."""


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """Who computes; None as `region`: not declared."""

    id: str
    name: str
    kind: ProviderKind
    base_url: str | None
    key_header: str
    encrypted_key: bytes | None = field(repr=False)
    operator: str
    region: str | None
    enabled: bool


@dataclass(frozen=True, slots=True)
class DatedPrice:
    """A price and the time in which it is in force; the end is the first moment in which it no longer is."""

    price: Price
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Offering:
    """A model at a provider."""

    id: str
    model: str
    provider: ProviderFacts
    upstream_model: str
    max_context: int | None
    enabled: bool
    prices: tuple[DatedPrice, ...] = ()

    def price_at(self, moment: datetime) -> Price | None:
        """The price in force; None where there is none, and then nobody is served."""
        for dated in self.prices:
            if dated.valid_from <= moment and (dated.valid_until is None or moment < dated.valid_until):
                return dated.price
        return None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a name that clients use means now."""

    model: str
    alias: bool = False
    stage: Stage = "available"
    deprecated_at: datetime | None = None
    retired_at: datetime | None = None
    replacement: str | None = None


@dataclass(frozen=True)
class _Snapshot:
    """One moment of the tables."""

    offerings: tuple[Offering, ...] = ()
    of_model: Mapping[str, tuple[Offering, ...]] = field(default_factory=dict)
    lifecycles: Mapping[str, Lifecycle] = field(default_factory=dict)


class Directory:
    """Answers from memory. Whoever changes the catalogue calls `refresh` once the change has committed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._snapshot = _Snapshot()
        self._turn = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads the catalogue, and from now on again every few seconds."""
        await self.refresh()
        self._keeping = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        """Ends the reading."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping

    async def refresh(self) -> None:
        """Takes in what has been committed by now."""
        async with self._turn:  # an older answer must not come last
            self._snapshot = await _read(self._database)

    def all(self) -> tuple[Offering, ...]:
        """Every offering, by age."""
        return self._snapshot.offerings

    def offerings(self, model: str) -> tuple[Offering, ...]:
        """The offerings of a model, those that are switched off as well; `model` is as `resolve` has it."""
        return self._snapshot.of_model.get(model, ())

    def lifecycle(self, model: str) -> Lifecycle:
        """What the operator decided of a model's life, else what its makers announced."""
        known, decided = by_name().get(model), self._snapshot.lifecycles
        if known is None:
            return decided.get(model, Lifecycle())
        return decided.get(known.name, known.lifecycle)

    def resolve(self, name: str) -> Resolved:
        """The model that a name means. What is offered under the very name wins over every alias.

        An alias leads to its model while that is generally available or legacy. Then it moves on to the replacement,
        where that is; a preview is never reached by it. What nobody knows means itself, and has no offerings.
        """
        moment = now()
        target = name if self.offerings(name) else self.target(name, moment)
        if target is None:
            return Resolved(name)
        life = self.lifecycle(target)
        return Resolved(target, target != name, life.at(moment), life.deprecated_at, life.retired_at, life.replacement)

    def target(self, name: str, moment: datetime) -> str | None:
        """Which model's offerings a name leads to; None where it leads nowhere."""
        if name not in by_name():
            return None
        model: str | None = by_name()[name].name
        seen = set()
        while model is not None and model != name and self.lifecycle(model).at(moment) not in ALIAS_STAGES:
            seen.add(model)
            following = self.lifecycle(model).replacement
            if following is not None and following in by_name():
                following = by_name()[following].name
            model = None if following in seen else following
        return None if model is None else self._offered_name(model)

    def aliases(self) -> dict[str, list[str]]:
        """The aliases that lead to each model now, by the name under which it is offered."""
        moment, found = now(), defaultdict[str, list[str]](list)
        for model in family():
            for name in model.aliases:
                target = self.target(name, moment)
                if target is not None and target != name:
                    found[target].append(name)
        return found

    def _offered_name(self, model: str) -> str:
        """Of a model's names the one under which it is offered here: `serve` offers it as the user spelled it."""
        names = by_name()[model].names if model in by_name() else (model,)
        return next((name for name in names if self.offerings(name)), model)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESHED_EVERY)
            try:
                await self.refresh()
            except Exception:  # the database is away: what was read goes on being right, and is read again soon
                logger.exception("the catalogue could not be read; what was known of it stays in use")


async def _read(database: Database) -> _Snapshot:
    current = or_(PriceRow.valid_until.is_(None), PriceRow.valid_until > now() - _PAST_KEPT)
    prices: dict[str, list[DatedPrice]] = defaultdict(list)
    of_model: dict[str, list[Offering]] = defaultdict(list)
    async with database.read() as session:
        for row in await session.scalars(select(PriceRow).where(current).order_by(PriceRow.valid_from)):
            price = Price(row.id, row.input, row.cached_input, row.output)
            prices[row.offering_id].append(DatedPrice(price, row.valid_from, row.valid_until))
        providers = {row.id: provider_facts(row) for row in await session.scalars(select(ProviderRow))}
        rows = (await session.scalars(select(OfferingRow).order_by(OfferingRow.id))).all()
        lifecycles = {row.model: lifecycle_of(row) for row in await session.scalars(select(LifecycleRow))}
    offerings = tuple(
        Offering(
            row.id,
            row.model,
            providers[row.provider_id],
            row.upstream_model,
            row.max_context,
            row.enabled,
            tuple(prices[row.id]),
        )
        for row in rows
    )
    for offering in offerings:
        of_model[offering.model].append(offering)
    return _Snapshot(offerings, {model: tuple(found) for model, found in of_model.items()}, lifecycles)


def provider_facts(row: ProviderRow) -> ProviderFacts:
    """What a row says."""
    return ProviderFacts(
        id=row.id,
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        key_header=row.key_header,
        encrypted_key=row.encrypted_key,
        operator=row.operator,
        region=row.region,
        enabled=row.enabled,
    )
