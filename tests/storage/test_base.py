"""Times and ids."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, cast, create_engine, literal, select
from sqlalchemy.exc import StatementError

from tests.storage.places import Place
from tramontane.storage.base import UtcDateTime, new_id, now
from tramontane.storage.location import locate

_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=_zones)


@pytest.fixture
def connection(place: Place) -> Iterator[Connection]:
    engine = create_engine(locate(place.url, place.home))
    with engine.connect() as opened:
        if engine.dialect.name == "postgresql":
            opened.exec_driver_sql("SET TIME ZONE 'Asia/Kathmandu'")  # whatever zone the server is in
        yield opened
    engine.dispose()


def _stored(moment: datetime) -> object:
    return literal(moment, UtcDateTime())


@given(first=moments, second=moments)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_moments_come_back_in_utc_and_keep_their_order(
    connection: Connection, first: datetime, second: datetime
) -> None:
    query = select(_stored(first), _stored(second), _stored(first) < _stored(second))
    if connection.dialect.name == "postgresql":
        one, other = (cast(_stored(moment), UtcDateTime()) for moment in (first, second))
        query = select(one, other, one < other)
    found = connection.execute(query).one()
    assert tuple(found) == (first, second, first < second)
    assert found[0].tzinfo is UTC
    assert found[1].tzinfo is UTC


def test_a_naive_moment_is_refused(connection: Connection) -> None:
    with pytest.raises(StatementError, match="give it a timezone"):
        connection.execute(select(_stored(datetime(2026, 1, 1))))


def test_now_knows_its_zone() -> None:
    assert now().tzinfo is UTC


def test_ids_sort_by_age_and_never_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {new_id() for _ in range(20_000)}
    assert len(ids) == 20_000
    assert all(len(made) == 32 and set(made) <= set("0123456789abcdef") for made in ids)
    later = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert max(ids) < new_id()
