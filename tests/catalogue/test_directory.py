"""What names mean, what is offered, and at which price, as requests are told it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.catalogue.offering import add_offering
from tests.storage.places import Place, place
from tramontane.catalogue import directory as module
from tramontane.catalogue.directory import Directory
from tramontane.catalogue.local import ensure_local_offerings
from tramontane.catalogue.prices import PriceDraft, set_price
from tramontane.catalogue.tables import LifecycleRow, OfferingRow, PriceRow, ProviderRow
from tramontane.storage.base import now
from tramontane.storage.database import Database

__all__ = ["place"]

HOUR = timedelta(hours=1)


async def decide(db: Database, directory: Directory, row: LifecycleRow) -> None:
    async with db.write() as session:
        await session.merge(row)
    await directory.refresh()


def test_offerings_with_their_prices(place: Place) -> None:
    async def scenario(db: Database) -> None:
        directory = Directory(db)
        await directory.refresh()
        assert (directory.all(), directory.offerings("m"), directory.resolve("m").model) == ((), (), "m")
        first, second = await add_offering(db, "m", "A"), await add_offering(db, "m", "B", region=None, enabled=False)
        await add_offering(db, "n", "C")
        present = now()
        async with db.write() as session:
            await set_price(session, first, PriceDraft(input=3, output=5))
            await set_price(session, first, PriceDraft(input=4, output=6, valid_from=present + HOUR))
        assert directory.offerings("m") == ()
        await directory.refresh()
        found, other = directory.offerings("m")
        assert (found.id, other.id, len(directory.all())) == (first, second, 3)
        assert (found.provider.name, found.provider.region, found.enabled) == ("A", "FR", True)
        assert (other.provider.region, other.enabled, other.price_at(now())) == (None, False, None)
        price = found.price_at(now())
        assert price is not None
        assert (price.input, price.cached_input, price.output) == (3, 3, 5)
        # A price that begins later comes into force on time, without a look into the database.
        later = found.price_at(present + HOUR)
        assert later is not None
        assert later.input == 4
        assert found.price_at(present - HOUR) is None

    place.run(scenario)


def test_secrets_are_in_no_representation(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        offering = await add_offering(db)
        async with db.write() as session:
            (provider,) = await session.scalars(select(ProviderRow))
            provider.encrypted_key = b"canary"
        directory = Directory(db)
        await directory.refresh()
        (found,) = directory.all()
        assert (found.id, found.provider.encrypted_key) == (offering, b"canary")
        assert "canary" not in repr(found)

    Place(None, tmp_path).run(scenario)


def test_aliases_lead_to_what_is_generally_available(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        directory = Directory(db)
        await directory.refresh()
        resolved = directory.resolve("mistral-small-latest")
        assert (resolved.model, resolved.alias, resolved.stage) == ("mistral-small-2603", True, "available")
        # Retired by its makers, with a replacement that is available.
        assert directory.resolve("magistral-medium-latest").model == "mistral-medium-3-5"
        # Asked for by its own name it is what it is.
        magistral = directory.resolve("magistral-medium-2509")
        assert (magistral.model, magistral.alias, magistral.stage) == ("magistral-medium-2509", False, "retired")
        assert magistral.retired_at is not None

        for stage in ("preview", "deprecated", "retired"):
            await decide(db, directory, LifecycleRow(model="mistral-small-2603", stage=stage))
            assert directory.resolve("mistral-small-latest").model == "mistral-small-latest"  # nobody's
            assert directory.resolve("mistral-small-2603").stage == stage
        row = LifecycleRow(model="mistral-small-2603", stage="deprecated", replacement="ministral-14b-2512")
        await decide(db, directory, row)
        assert directory.resolve("mistral-small-latest").model == "ministral-14b-2512"
        row = LifecycleRow(model="ministral-14b-2512", stage="retired", replacement="mistral-small-2603")
        await decide(db, directory, row)
        assert directory.resolve("mistral-small-latest").model == "mistral-small-latest"  # not round and round
        await decide(db, directory, LifecycleRow(model="mistral-small-2603", stage="legacy"))
        assert directory.resolve("mistral-small-latest").stage == "legacy"

    Place(None, tmp_path).run(scenario)


def test_what_is_offered_under_the_very_name_comes_first(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        directory = Directory(db)
        async with db.write() as session:
            said = await ensure_local_offerings(session, ["mixtral-8x7b", "mistral-small-latest", "brise"])
        assert said == [
            f"{name}: no price set, so it is free." for name in ("mixtral-8x7b", "mistral-small-latest", "brise")
        ]
        await directory.refresh()
        # `serve --model mixtral-8x7b` is found by the model's other names, too.
        assert [directory.resolve(name).model for name in ("mixtral-8x7b", "open-mixtral-8x7b")] == ["mixtral-8x7b"] * 2
        assert (directory.resolve("mixtral-8x7b").alias, directory.resolve("open-mixtral-8x7b").alias) == (False, True)
        assert directory.resolve("mistral-small-latest").model == "mistral-small-latest"
        assert directory.resolve("brise").stage == "available"
        await decide(db, directory, LifecycleRow(model="open-mixtral-8x7b", stage="deprecated"))
        assert directory.resolve("mixtral-8x7b").stage == "deprecated"

    Place(None, tmp_path).run(scenario)


def test_this_machine_is_a_provider_once(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            assert len(await ensure_local_offerings(session, ["brise"])) == 1
        async with db.write() as session:
            assert await ensure_local_offerings(session, ["brise"]) == []
            (offering,) = await session.scalars(select(OfferingRow))
            offering.enabled = False
            (price,) = await session.scalars(select(PriceRow))
            price.valid_until = now()
        async with db.write() as session:
            unpriced, off = await ensure_local_offerings(session, ["brise"])
        assert unpriced.startswith("brise: no price is in force")
        assert off.startswith("brise: its offering by this machine is switched off")
        directory = Directory(db)
        await directory.refresh()
        (found,) = directory.all()
        assert (found.provider.kind, found.provider.name, found.provider.operator, found.provider.region) == (
            "local",
            "This machine",
            "My organisation",
            None,
        )
        assert found.price_at(now()) is None
        (ended,) = found.prices
        assert (ended.price.input, ended.price.output) == (0, 0)

    place.run(scenario)


def test_it_keeps_itself_fresh_and_outlives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process changes comes into force without a word."""
    monkeypatch.setattr(module, "REFRESHED_EVERY", 0.01)

    async def scenario(db: Database) -> None:
        directory = Directory(db)
        await directory.open()
        read, failures = module._read, [0]

        async def failing(database: Database) -> module._Snapshot:
            failures[0] += 1
            if failures[0] < 3:
                raise OSError("away")
            return await read(database)

        monkeypatch.setattr(module, "_read", failing)
        offering = await add_offering(db)
        async with asyncio.timeout(10):
            while not directory.all():
                await asyncio.sleep(0.005)
        assert [found.id for found in directory.all()] == [offering]
        await directory.close()

    Place(None, tmp_path).run(scenario)
