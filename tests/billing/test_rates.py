"""Rates: no schedule gets more through than the limits say, and nobody is refused while there is room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.billing.months import month_of
from tramontane.billing.rates import Admission, Cap, RateLimits
from tramontane.billing.tables import Limit, MonthCount
from tramontane.errors import InvalidRequestError, RateLimitedError
from tramontane.storage.base import now
from tramontane.storage.database import Database

SECOND = 10**9
HOUR = 3600 * SECOND


class Clock:
    """Nanoseconds, as the test says."""

    def __init__(self) -> None:
        self.at = 1_000 * SECOND

    def __call__(self) -> int:
        return self.at


async def limit(db: Database, tenant: Tenant, **limits: dict[str, int]) -> None:
    """`limit(db, tenant, key={"requests_per_second": 2})`, of the first workspace and key."""
    ids = {
        "organisation": tenant.organisation_id,
        "workspace": tenant.workspace_ids[0],
        "key": tenant.key_ids[0],
    }
    async with db.write() as session:
        for scope, values in limits.items():
            session.add(
                Limit(scope=scope, scope_id=ids[scope], organisation_id=tenant.organisation_id, **values)  # type: ignore[arg-type]
            )


async def limited(db: Database, **limits: dict[str, int]) -> tuple[Tenant, RateLimits, Clock]:
    async with db.write() as session:
        tenant = await add_tenant(session, workspaces=2)
    await limit(db, tenant, **limits)
    clock = Clock()
    rates = RateLimits(db, clock)
    await rates.refresh()
    return tenant, rates, clock


def refusal(rates: RateLimits, tenant: Tenant, tokens: int = 1, workspace: int = 0) -> RateLimitedError:
    with pytest.raises(RateLimitedError) as refused:
        rates.admit(tenant.principal(workspace), tokens)
    return refused.value


# ── any schedule ────────────────────────────────────────────────────────────────────────────────────────────────────

LIMITS: list[dict[str, dict[str, int]]] = [
    {"key": {"requests_per_second": 1}},
    {"workspace": {"requests_per_second": 3}},
    {"organisation": {"requests_per_second": 7, "tokens_per_minute": 90}},
    {"key": {"tokens_per_minute": 1}, "organisation": {"requests_per_second": 2}},
    {name: {"tokens_per_minute": value} for name, value in (("key", 60), ("workspace", 100), ("organisation", 70))},
    {"key": {"requests_per_second": 2}, "workspace": {"requests_per_second": 3, "tokens_per_minute": 77}},
]  # fmt: skip


@dataclass
class Model:
    """A bucket by its definition, with fractions."""

    limit: int
    period: int
    room: Fraction = field(init=False)
    at: int = 0

    def __post_init__(self) -> None:
        self.room = Fraction(self.limit)

    def room_at(self, at: int) -> Fraction:
        return min(Fraction(self.limit), self.room + Fraction(self.limit * (at - self.at), self.period))

    def take(self, amount: int, at: int) -> None:
        self.room, self.at = min(Fraction(self.limit), self.room_at(at) - amount), at


@dataclass
class Watched:
    """What went through one limit."""

    amount_of: Callable[[int], int]
    model: Model
    taken: list[tuple[int, int, bool]] = field(default_factory=list)  # when, how much, whether it was an admission

    def check(self) -> None:
        """No window that ends with an admission holds more than its length and one burst allow."""
        for last, (end, _, admitted) in enumerate(self.taken):
            total = 0
            for start, amount, _ in reversed(self.taken[: last + 1]):
                total += amount
                if admitted:
                    allowed = self.model.limit + Fraction(self.model.limit * (end - start), self.model.period)
                    assert total <= allowed


STEPS = st.lists(
    st.tuples(
        st.integers(0, 3 * SECOND) | st.integers(0, 70 * SECOND) | st.just(0),
        st.integers(0, 100),
        st.integers(0, 200) | st.none(),  # what an earlier request really took
    ),
    max_size=40,
)


def test_no_schedule_gets_more_through_and_none_is_refused_what_has_room(place: Place) -> None:
    async def scenario(db: Database) -> None:
        clock, tenants = Clock(), []
        rates = RateLimits(db, clock)
        for limits in LIMITS:
            async with db.write() as session:
                tenants.append(await add_tenant(session))
            await limit(db, tenants[-1], **limits)
        await rates.refresh()

        @settings(max_examples=100, deadline=None)
        @given(st.integers(0, len(LIMITS) - 1), STEPS)
        def check(which: int, steps: list[tuple[int, int, int | None]]) -> None:
            clock.at += 1_000 * HOUR  # all buckets are empty again
            run_schedule(rates, clock, tenants[which], LIMITS[which], steps)

        check()

    place.run(scenario)


def run_schedule(
    rates: RateLimits,
    clock: Clock,
    tenant: Tenant,
    limits: dict[str, dict[str, int]],
    steps: list[tuple[int, int, int | None]],
) -> None:
    named = [one for values in limits.values() for one in values.items()]
    watched = [Watched(lambda _: 1, Model(value, SECOND)) for name, value in named if name == "requests_per_second"]
    watched += [Watched(int, Model(value, 60 * SECOND)) for name, value in named if name == "tokens_per_minute"]
    running: list[tuple[Admission, int]] = []
    for pause, tokens, really in steps:
        clock.at += pause
        if really is not None and running:
            admission, reserved = running.pop(0)
            admission.correct(really)
            for one in watched:
                if more := one.amount_of(really) - one.amount_of(reserved):
                    one.model.take(more, clock.at)
                    one.taken.append((clock.at, more, False))
        has_room = all(one.model.room_at(clock.at) >= one.amount_of(tokens) for one in watched)
        try:
            admission = rates.admit(tenant.principal(), tokens)
        except InvalidRequestError:
            assert any(one.amount_of(tokens) > one.model.limit for one in watched)
            continue
        except RateLimitedError as error:
            assert not has_room
            assert_right_wait(watched, tokens, clock.at, error.retry_after)
            continue
        assert has_room
        running.append((admission, tokens))
        for one in watched:
            one.model.take(one.amount_of(tokens), clock.at)
            one.taken.append((clock.at, one.amount_of(tokens), True))
    for one in watched:
        one.check()


def assert_right_wait(watched: list[Watched], tokens: int, at: int, seconds: float) -> None:
    """Then there is room, and not a microsecond before."""
    then = at + round(seconds * SECOND)
    assert all(one.model.room_at(then + 100) >= one.amount_of(tokens) for one in watched)
    assert any(one.model.room_at(then - 1_000) < one.amount_of(tokens) for one in watched)


# ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_says_which_limit_of_whom_and_when_to_try_again(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, clock = await limited(
            db,
            key={"requests_per_second": 2},
            workspace={"tokens_per_minute": 600},
            organisation={"tokens_per_minute": 900},
        )
        rates.admit(tenant.principal(), 400)
        rates.admit(tenant.principal(), 10)
        assert str(refusal(rates, tenant)) == (
            "The limit of this key, 2 requests a second, is reached: try again in 1 second."
        )
        clock.at += SECOND
        refused = refusal(rates, tenant, 400)
        assert str(refused) == (
            "The limit of this workspace, 600 tokens a minute, leaves 200 now, and this request may take 400: "
            "try again in 20 seconds."
        )
        assert refused.retry_after == pytest.approx(20)
        assert refused.headers["x-ratelimit-remaining-tokens-minute"] == "200"
        # The other workspace has the organisation's limit alone.
        assert "this organisation, 900" in str(refusal(rates, tenant, 600, workspace=1))
        rates.admit(tenant.principal(1), 500)

    place.run(scenario)


def test_a_part_of_a_request_takes_its_tokens_alone(place: Place) -> None:
    async def scenario(db: Database) -> None:
        limits = {"requests_per_second": 1, "tokens_per_minute": 600}
        tenant, rates, _ = await limited(db, workspace=limits)
        rates.admit(tenant.principal(), 100)
        assert rates.admit(tenant.principal(), 200, requests=0).headers["x-ratelimit-remaining-tokens"] == "300"
        with pytest.raises(RateLimitedError, match="600 tokens a minute"):
            rates.admit(tenant.principal(), 400, requests=0)

    place.run(scenario)


def test_what_can_never_pass_is_not_told_to_wait(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, _ = await limited(db, workspace={"tokens_per_minute": 1_000})
        with pytest.raises(InvalidRequestError, match=r"1,001 tokens and this workspace 1,000 a minute.*never pass"):
            rates.admit(tenant.principal(), 1_001)
        assert rates.admit(tenant.principal(), 1_000).headers["x-ratelimit-remaining-tokens"] == "0"

    place.run(scenario)


def test_a_refusal_takes_nothing(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, _ = await limited(
            db, key={"requests_per_second": 5, "tokens_per_minute": 100}, organisation={"tokens_per_minute": 90}
        )
        rates.admit(tenant.principal(), 50)
        for _ in range(20):
            refusal(rates, tenant, 50)
        headers = rates.admit(tenant.principal(), 40).headers
        assert headers["x-ratelimit-remaining-req-second"] == "3"

    place.run(scenario)


def test_headers_are_those_that_clients_read(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, _ = await limited(
            db,
            key={"tokens_per_minute": 5_000},
            workspace={"requests_per_second": 10, "tokens_per_month": 1_000_000},
            organisation={"tokens_per_minute": 6_000, "tokens_per_month": 900_000, "spend_per_month": 7},
        )
        counts = {"scope": "workspace", "scope_id": tenant.workspace_ids[0], "month": month_of(now())}
        past = {"scope": "organisation", "scope_id": tenant.organisation_id, "month": "2001-01"}
        async with db.write() as session:
            session.add(MonthCount(**counts, tokens=150_000, tokens_reserved=50_000))
            session.add(MonthCount(**past, tokens=899_999))
        await rates.refresh()
        admission = rates.admit(tenant.principal(), 2_000)
        assert admission.headers == {
            "x-ratelimit-limit-req-second": "10",
            "x-ratelimit-remaining-req-second": "9",
            "x-ratelimit-limit-req-minute": "600",
            "x-ratelimit-remaining-req-minute": "599",
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "0.100s",
            "x-ratelimit-limit-tokens-minute": "5000",
            "x-ratelimit-remaining-tokens-minute": "3000",
            "x-ratelimit-limit-tokens": "5000",
            "x-ratelimit-remaining-tokens": "3000",
            "x-ratelimit-reset-tokens": "24.000s",
            "x-ratelimit-limit-tokens-month": "1000000",
            "x-ratelimit-remaining-tokens-month": "800000",
        }
        assert admission.caps == (
            Cap("workspace", tenant.workspace_ids[0], 1_000_000, None),
            Cap("organisation", tenant.organisation_id, 900_000, 7),
        )

    place.run(scenario)


def test_without_limits_nothing_is_said_and_nothing_kept(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, _ = await limited(db)
        for _ in range(1_000):
            admission = rates.admit(tenant.principal(browser=True), 10**9)
            assert (admission.headers, admission.caps) == ({}, ())
            admission.correct(1)
        assert not rates._scopes

    place.run(scenario)


# ── correcting, and changing limits ─────────────────────────────────────────────────────────────────────────────────


def test_a_browser_has_its_workspaces_limits_and_no_keys(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, _ = await limited(
            db, key={"requests_per_second": 1}, workspace={"requests_per_second": 2}, organisation={}
        )
        for _ in range(2):
            rates.admit(tenant.principal(browser=True), 1)
        with pytest.raises(RateLimitedError, match="this workspace"):
            rates.admit(tenant.principal(browser=True), 1)

    place.run(scenario)


def test_what_was_not_used_is_given_back_and_what_was_used_beyond_is_taken(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, clock = await limited(db, key={"tokens_per_minute": 600})
        first = rates.admit(tenant.principal(), 500)
        refusal(rates, tenant, 200)
        first.correct(100)
        first.correct(100)  # an absolute number: twice is once
        second = rates.admit(tenant.principal(), 200)
        second.correct(1_700)
        assert refusal(rates, tenant, 0).retry_after == pytest.approx(120)
        clock.at += 120 * SECOND
        rates.admit(tenant.principal(), 0)

    place.run(scenario)


def test_a_change_counts_at_once_and_what_was_taken_stays_taken(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, rates, _ = await limited(db, key={"tokens_per_minute": 600})
        running = rates.admit(tenant.principal(), 600)
        refusal(rates, tenant, 100)
        async with db.write() as session:
            await session.execute(update(Limit).values(tokens_per_minute=800))
        await rates.refresh()
        assert rates.admit(tenant.principal(), 100).headers["x-ratelimit-remaining-tokens"] == "100"
        async with db.write() as session:
            await session.execute(update(Limit).values(tokens_per_minute=300))
        await rates.refresh()
        assert refusal(rates, tenant, 300).retry_after == pytest.approx(140)
        running.correct(0)
        assert rates.admit(tenant.principal(), 100).headers["x-ratelimit-remaining-tokens"] == "100"
        async with db.write() as session:
            await session.execute(delete(Limit))
        await rates.refresh()
        rates.admit(tenant.principal(), 10**9)
        running.correct(10**9)

    place.run(scenario)
