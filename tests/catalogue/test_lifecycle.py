"""Stages follow from dates, to the moment; no stage is skipped, and none is shorter than promised."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.places import Place, place
from tramontane.catalogue.lifecycle import (
    DEPRECATED_LASTS,
    LEGACY_LASTS,
    STAGES,
    Lifecycle,
    changed,
    decide,
    row_to_change,
)
from tramontane.catalogue.tables import Stage
from tramontane.errors import InvalidRequestError
from tramontane.storage.database import Database

__all__ = ["place"]

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)


def test_a_stage_begins_on_its_date() -> None:
    life = Lifecycle("available", NOW, NOW + 30 * DAY, NOW + 120 * DAY)
    assert [
        life.at(moment)
        for moment in (
            NOW - TICK,
            NOW,
            NOW + 30 * DAY - TICK,
            NOW + 30 * DAY,
            NOW + 120 * DAY - TICK,
            NOW + 120 * DAY,
        )
    ] == ["available", "legacy", "legacy", "deprecated", "deprecated", "retired"]


def test_what_was_decided_holds_until_the_next_date() -> None:
    assert Lifecycle("preview").at(NOW) == "preview"
    assert Lifecycle("deprecated", NOW - 40 * DAY, NOW).at(NOW - DAY) == "deprecated"
    assert Lifecycle("preview", legacy_at=NOW).at(NOW) == "legacy"


def test_announced_in_time() -> None:
    wish = Lifecycle("available", NOW + DAY, NOW + 31 * DAY, NOW + 121 * DAY, "newer")
    assert changed(Lifecycle(), wish, NOW) == wish
    assert changed(Lifecycle("preview"), Lifecycle("available"), NOW) == Lifecycle("available")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (Lifecycle("available", NOW + DAY, NOW + 31 * DAY - TICK), "deprecated_at"),
        (Lifecycle("available", NOW + DAY, NOW + 31 * DAY, NOW + 121 * DAY - TICK), "retired_at"),
        (Lifecycle("available", None, NOW + 31 * DAY), "legacy_at"),
        (Lifecycle("available", NOW + DAY, None, NOW + 300 * DAY), "deprecated_at"),
        (Lifecycle("available", NOW - 40 * DAY), "legacy_at"),
        (Lifecycle("deprecated"), "legacy_at"),
        (Lifecycle("deprecated", NOW - 40 * DAY), "legacy_at"),  # it never was legacy, whatever one says now
        (Lifecycle("retired"), "deprecated_at"),
    ],
)
def test_too_soon(wish: Lifecycle, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        changed(Lifecycle(), wish, NOW)
    assert refused.value.field == field


def test_a_life_to_its_end() -> None:
    legacy = changed(Lifecycle(), Lifecycle("legacy"), NOW)
    assert legacy.legacy_at == NOW
    with pytest.raises(InvalidRequestError, match="30 days at least"):
        changed(legacy, Lifecycle("deprecated"), NOW + 30 * DAY - TICK)
    deprecated = changed(legacy, Lifecycle("deprecated"), NOW + 30 * DAY)
    assert (deprecated.legacy_at, deprecated.deprecated_at) == (NOW, NOW + 30 * DAY)
    with pytest.raises(InvalidRequestError, match="90 days at least"):
        changed(deprecated, Lifecycle("retired"), NOW + 120 * DAY - TICK)
    retired = changed(deprecated, Lifecycle("retired"), NOW + 120 * DAY)
    assert retired.at(NOW + 120 * DAY) == "retired"
    assert changed(retired, Lifecycle("available"), NOW + 121 * DAY) == Lifecycle("available")


def test_what_others_have_announced_is_where_a_change_begins() -> None:
    announced = Lifecycle("available", None, NOW - DAY, NOW + 200 * DAY)
    assert changed(announced, Lifecycle("deprecated", replacement="newer"), NOW) == Lifecycle(
        "deprecated", None, NOW - DAY, None, "newer"
    )


moments = st.none() | st.integers(-200, 400).map(lambda days: NOW + days * DAY)
wishes = st.builds(Lifecycle, st.sampled_from(STAGES), moments, moments, moments)


@given(st.lists(st.tuples(wishes, st.integers(0, 60)), max_size=8))
def test_no_change_cuts_a_stage_short(changes: list[tuple[Lifecycle, int]]) -> None:
    life, moment = Lifecycle(), NOW
    for wish, days in changes:
        moment += days * DAY
        try:
            life = changed(life, wish, moment)
        except InvalidRequestError:
            continue
        assert life.at(moment) == wish.at(moment)  # a date that is now has come
        if life.deprecated_at is not None:
            assert life.legacy_at is not None
            assert life.deprecated_at - life.legacy_at >= LEGACY_LASTS
        if life.retired_at is not None:
            assert life.deprecated_at is not None
            assert life.retired_at - life.deprecated_at >= DEPRECATED_LASTS


def test_two_who_decide_at_once_decide_one_after_the_other(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async def go_on(stage: Stage) -> Stage:
            async with db.write() as session:
                row = await row_to_change(session, "m", Lifecycle("preview"))
                before = row.stage
                decide(row, Lifecycle(stage))
            return before

        found = await asyncio.gather(*(go_on("available") for _ in range(4)))
        assert sorted(found) == ["available"] * 3 + ["preview"]

    place.run(scenario)
