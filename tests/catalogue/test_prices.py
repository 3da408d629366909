"""Dated prices: at each moment an offering has one at most, and what was in force is never changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.catalogue.offering import add_offering
from tests.storage.places import Place, place
from tramontane.catalogue import prices
from tramontane.catalogue.prices import PriceDraft, delete_price, list_prices, set_price
from tramontane.catalogue.tables import PriceRow
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.storage.base import now
from tramontane.storage.database import Database

__all__ = ["place"]

HOUR = timedelta(hours=1)
START = now().replace(microsecond=0)


def overlaps(rows: Sequence[PriceRow]) -> bool:
    return any(one.valid_until is None or one.valid_until > next_one.valid_from for one, next_one in pairwise(rows))


async def all_prices(db: Database, offering: str) -> list[PriceRow]:
    async with db.read() as session:
        return list(await list_prices(session, offering))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 5)),
        st.tuples(st.just("set"), st.none() | st.integers(-1, 12), st.none() | st.integers(0, 14)),
        st.tuples(st.just("delete"), st.integers(0, 8)),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_no_sequence_makes_prices_overlap_or_changes_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[Any, ...]]
) -> None:
    async def scenario(db: Database) -> None:
        offering, clock = await add_offering(db, provider=str(now())), [START]
        monkeypatch.setattr(prices, "now", lambda: clock[0])
        past: dict[datetime, int | None] = {}

        def in_force(rows: Sequence[PriceRow], moment: datetime) -> int | None:
            found = [r.input for r in rows if r.valid_from <= moment and (not r.valid_until or moment < r.valid_until)]
            assert len(found) <= 1
            return found[0] if found else None

        for number, step in enumerate(steps):
            rows = await all_prices(db, offering)
            try:
                async with db.write() as session:
                    match step:
                        case ("wait", hours):
                            past |= {clock[0] + n * HOUR / 2: None for n in range(2 * hours)}
                            past |= {moment: in_force(rows, moment) for moment in past if moment >= clock[0]}
                            clock[0] += hours * HOUR
                        case ("set", start, end):
                            draft = PriceDraft(
                                input=number + 1,
                                output=1,
                                cached_input=0,
                                valid_from=None if start is None else clock[0] + start * HOUR,
                                valid_until=None if end is None else clock[0] + end * HOUR,
                            )
                            await set_price(session, offering, draft)
                        case ("delete", place) if place < len(rows):
                            await delete_price(session, rows[place].id)
            except (ConflictError, InvalidRequestError):
                assert [r.id for r in await all_prices(db, offering)] == [r.id for r in rows]
            rows = await all_prices(db, offering)
            assert not overlaps(rows)
            assert {moment: in_force(rows, moment) for moment in past} == past

    Place(None, tmp_path).run(scenario)


def test_a_new_price_ends_the_running_one(place: Place) -> None:
    async def scenario(db: Database) -> None:
        offering = await add_offering(db)
        async with db.write() as session:
            first = await set_price(session, offering, PriceDraft(input=100, output=300))
            later = await set_price(session, offering, PriceDraft(input=50, output=90, valid_from=START + 9 * HOUR))
        assert (first.cached_input, first.batch_percent, first.currency) == (100, 50, "EUR")
        found = await all_prices(db, offering)
        assert [(row.valid_from, row.valid_until) for row in found] == [
            (first.valid_from, later.valid_from),
            (START + 9 * HOUR, None),
        ]
        async with db.write() as session:
            await set_price(session, offering, PriceDraft(input=70, output=80, valid_from=START + 5 * HOUR))
        found = await all_prices(db, offering)
        assert [row.input for row in found] == [100, 70, 50]
        assert [row.valid_until for row in found] == [START + 5 * HOUR, START + 9 * HOUR, None]

    place.run(scenario)


def test_a_price_that_is_taken_back_leaves_no_gap(place: Place) -> None:
    async def scenario(db: Database) -> None:
        offering = await add_offering(db)
        async with db.write() as session:
            first = await set_price(session, offering, PriceDraft(input=1, output=1))
            second = await set_price(session, offering, PriceDraft(input=2, output=2, valid_from=START + 5 * HOUR))
        async with db.write() as session:
            await delete_price(session, second.id)
        (left,) = await all_prices(db, offering)
        assert (left.id, left.valid_until) == (first.id, None)
        with pytest.raises(ConflictError, match="has begun"):
            async with db.write() as session:
                await delete_price(session, first.id)
        with pytest.raises(MissingError):
            async with db.write() as session:
                await delete_price(session, second.id)

    place.run(scenario)


REFUSED: list[tuple[PriceDraft, str, str]] = [
    (PriceDraft(input=-1, output=0), "input", "from 0"),
    (PriceDraft(input=1, output=-1), "output", "from 0"),
    (PriceDraft(input=1, output=10**16), "output", "from 0"),
    (PriceDraft(input=1, cached_input=2, output=0), "cached_input", "dearer"),
    (PriceDraft(input=1, output=0, currency="USD"), "currency", "'USD' is not used"),
    (PriceDraft(input=1, output=0, batch_percent=0), "batch_percent", "1 to 100"),
    (PriceDraft(input=1, output=0, valid_from=START - HOUR), "valid_from", "past"),
    (PriceDraft(input=1, output=0, valid_from=datetime(2030, 1, 1)), "valid_from", "no time zone"),
    (PriceDraft(input=1, output=0, valid_from=START + HOUR, valid_until=START + HOUR), "valid_until", "not after"),
]


def test_what_is_no_price_is_refused_by_its_field(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        offering = await add_offering(db)
        for draft, field, says in REFUSED:
            with pytest.raises(InvalidRequestError, match=says) as refused:
                async with db.write() as session:
                    await set_price(session, offering, draft)
            assert refused.value.field == field
        assert await all_prices(db, offering) == []

    Place(None, tmp_path).run(scenario)


def test_overlapping_dates_are_refused(place: Place) -> None:
    async def scenario(db: Database) -> None:
        offering = await add_offering(db)
        async with db.write() as session:
            await set_price(session, offering, PriceDraft(input=1, output=1, valid_from=START + 5 * HOUR))
        for start, end in ((1, 6), (5, None), (5, 9)):
            draft = PriceDraft(
                input=2, output=2, valid_from=START + start * HOUR, valid_until=end and START + end * HOUR
            )
            with pytest.raises(ConflictError, match=r"overlap|begins at that moment"):
                async with db.write() as session:
                    await set_price(session, offering, draft)
        assert len(await all_prices(db, offering)) == 1

    place.run(scenario)


def test_administrators_at_once_make_no_overlap(place: Place) -> None:
    async def scenario(db: Database) -> None:
        offering = await add_offering(db)

        async def one(number: int) -> None:
            async with db.write() as session:
                await set_price(session, offering, PriceDraft(input=number, output=1))

        results = await asyncio.gather(*map(one, range(8)), return_exceptions=True)
        assert all(result is None or isinstance(result, ConflictError) for result in results), results
        rows = await all_prices(db, offering)
        assert not overlaps(rows)
        assert len(rows) == results.count(None) >= 1
        assert [row.valid_until is None for row in rows] == [False] * (len(rows) - 1) + [True]

    place.run(scenario)


def test_no_offering_no_price(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            with pytest.raises(MissingError):
                await set_price(session, "f" * 32, prices.FREE)
            with pytest.raises(MissingError):
                await list_prices(session, "f" * 32)

    Place(None, tmp_path).run(scenario)
