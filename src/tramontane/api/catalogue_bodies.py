"""Rows of the catalogue as the console reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from tramontane.accounts.permissions import allows
from tramontane.accounts.tables import User
from tramontane.api.platform import Platform, platform_of, principal_of
from tramontane.api.schemas import catalogue as bodies
from tramontane.catalogue import directory
from tramontane.catalogue.bundled import BUNDLED_MODEL
from tramontane.catalogue.family import FamilyModel, by_name, family
from tramontane.catalogue.lifecycle import Lifecycle
from tramontane.catalogue.model_facts import bundled_entry
from tramontane.catalogue.prices import present_prices
from tramontane.catalogue.tables import LicenceAcceptance, PriceRow, ProviderRow
from tramontane.gateway.cards import ModelCard
from tramontane.storage.base import now


def may_operate(request: Request) -> bool:
    """Whether who asks runs the installation, and may read what went wrong elsewhere."""
    return allows(principal_of(request), "operate")


def price_body(row: PriceRow) -> bodies.Price:
    """A price with its dates."""
    return bodies.Price(**{name: getattr(row, name) for name in bodies.Price.model_fields})


def provider_body(row: ProviderRow) -> bodies.Provider:
    """A provider; of its key, whether there is one."""
    fields = {name: getattr(row, name) for name in bodies.Provider.model_fields if name != "has_key"}
    return bodies.Provider(**fields, has_key=row.encrypted_key is not None)


def offering_body(
    platform: Platform, offering: directory.Offering, price: PriceRow | None, *, in_full: bool
) -> bodies.Offering:
    """`in_full`: with what went wrong there last, which names machines of the operator's."""
    standing = platform.health.of(offering.id)
    is_local = offering.provider.kind == "local"
    return bodies.Offering(
        id=offering.id,
        model=offering.model,
        provider_id=offering.provider.id,
        provider_name=offering.provider.name,
        kind=offering.provider.kind,
        operator=offering.provider.operator,
        region=offering.provider.region,
        upstream_model=offering.upstream_model,
        max_context=offering.max_context,
        enabled=offering.enabled and offering.provider.enabled,
        is_running=is_local and offering.upstream_model in _running(platform),
        price=None if price is None else price_body(price),
        health=bodies.Health(
            state=standing.state,
            failures=standing.failures,
            latency_ms=standing.latency_ms,
            last_problem=standing.last_problem if in_full else None,
        ),
    )


def _running(platform: Platform) -> set[str]:
    return {card.name for card in _local_cards(platform) if card.state == "ready"}


def _local_cards(platform: Platform) -> Iterable[ModelCard]:
    return (card for provider in platform.providers for card in provider.cards())


async def offering_bodies(
    request: Request, session: AsyncSession, offerings: Sequence[directory.Offering]
) -> list[bodies.Offering]:
    """Offerings with their present prices."""
    prices, in_full = await present_prices(session, [offering.id for offering in offerings]), may_operate(request)
    platform = platform_of(request)
    return [offering_body(platform, one, prices.get(one.id), in_full=in_full) for one in offerings]


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class CatalogueView:
    """The catalogue at one moment, for one who asks."""

    def __init__(
        self,
        platform: Platform,
        offered: Mapping[str, list[bodies.Offering]],
        accepted: Mapping[tuple[str, str], tuple[str | None, LicenceAcceptance]],
        pulled: Collection[str],
    ) -> None:
        self._platform, self._offered, self._accepted = platform, offered, accepted
        self._pulled = pulled
        aliases = platform.directory.aliases()  # of a model, and of those that it replaces
        self._cards = {card.name: card for card in _local_cards(platform)}
        self._aliases = {by_name()[to].name if to in by_name() else to: found for to, found in aliases.items()}

    @classmethod
    async def read(cls, request: Request) -> CatalogueView:
        """What it needs of the database."""
        platform = platform_of(request)
        pulled = {model.name for model in await asyncio.to_thread(platform.store.list)}
        async with platform.database.read() as session:
            found = await offering_bodies(request, session, platform.directory.all())
            rows = await session.execute(
                select(LicenceAcceptance, User.name)
                .outerjoin(User, User.id == LicenceAcceptance.user_id)
                .order_by(LicenceAcceptance.id.desc())  # so that of several the first remains
            )
            shows_who = may_operate(request)  # the operator's people are nobody's business
            accepted = {
                (row.model, row.licence): (name or row.user_id if shows_who else None, row) for row, name in rows
            }
        offered: dict[str, list[bodies.Offering]] = {}
        for offering in found:
            offered.setdefault(offering.model, []).append(offering)
        return cls(platform, offered, accepted, pulled)

    def all(self) -> list[bodies.CatalogueModel]:
        """The bundled model, the operator's own, then the family."""
        named = {name for model in self._family() for name in model.names}
        own = [self._own(name) for name in self._offered if name not in named]
        bundled, *published = [self._of_family(model) for model in self._family()]
        return [bundled, *own, *published]

    def one(self, name: str) -> bodies.CatalogueModel | None:
        """By its name or an alias."""
        found = next((model for model in self._family() if name in model.names), None)
        if found is not None:
            return self._of_family(found)
        return self._own(name) if name in self._offered else None

    def _family(self) -> tuple[FamilyModel, ...]:
        return (bundled_entry(), *family())

    def _of_family(self, model: FamilyModel) -> bodies.CatalogueModel:
        acceptor, acceptance = self._accepted.get((model.name, model.licence.name), (None, None))
        return bodies.CatalogueModel(
            name=model.name,
            title=model.title,
            version=model.version,
            aliases=self._aliases.get(model.name, []),
            maker=model.maker,
            summary=model.summary,
            licence=bodies.Licence(
                name=model.licence.name,
                url=model.licence.url,
                allows_production=model.licence.allows_production,
                needs_acceptance=model.licence.needs_acceptance,
                accepted_at=acceptance.accepted_at if acceptance else None,
                accepted_by=acceptor,
            ),
            parameters=model.parameters,
            active_parameters=model.active_parameters,
            max_context=model.max_context,
            languages=list(model.languages),
            abilities=list(model.abilities),
            file_formats=list(model.file_formats),
            repository=model.repository,
            released=model.released,
            documents=[bodies.Document(title=one.title, url=one.url) for one in model.documents],
            lifecycle=_lifecycle_body(self._platform.directory.lifecycle(model.name)),
            offerings=[offering for name in model.names for offering in self._offered.get(name, [])],
            is_pulled=model.name == BUNDLED_MODEL or model.repository in self._pulled,
            fits=self._fits(model.parameters if model.repository or model.name == BUNDLED_MODEL else None),
        )

    def _own(self, name: str) -> bodies.CatalogueModel:
        """A model that the family's data does not know: what this machine's card says of it."""
        card = self._cards.get(name)
        licence = (card.licence if card else None) or ""
        abilities = {"chat": "chat", "fim": "fim", "tools": "tools", "thinking": "reasoning"}
        return bodies.CatalogueModel(
            name=name,
            title=name,
            version="",
            aliases=self._aliases.get(name, []),
            maker="",
            summary=(card.summary or card.description if card else "") or "",
            licence=bodies.Licence(
                name=licence,
                url=None,
                allows_production=True,
                needs_acceptance=False,
                accepted_at=None,
                accepted_by=None,
            ),
            parameters=card.num_parameters if card else None,
            active_parameters=None,
            max_context=card.max_context if card else self._offered[name][0].max_context,
            languages=list(card.languages) if card else [],
            abilities=[ability for field, ability in abilities.items() if card and getattr(card, field)],
            file_formats=[],
            repository=name if name in self._pulled else None,
            released=None,
            documents=[],
            lifecycle=_lifecycle_body(self._platform.directory.lifecycle(name)),
            offerings=self._offered[name],
            is_pulled=name in self._pulled,
            fits=[],
        )

    def _fits(self, parameters: int | None) -> list[bodies.MemoryFit]:
        deployments = self._platform.deployments
        if deployments is None or parameters is None:
            return []
        return [
            bodies.MemoryFit(quantization=fit.quantization, needed=fit.needed, available=fit.available, fits=fit.fits)
            for fit in deployments.fits(parameters)
        ]


def _lifecycle_body(life: Lifecycle) -> bodies.Lifecycle:
    return bodies.Lifecycle(
        stage=life.at(now()),
        replacement=life.replacement,
        **life.dates(),
    )
