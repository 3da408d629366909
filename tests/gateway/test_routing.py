"""No request goes where its workspace's policy does not allow, whatever fails; what is allowed is tried in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.billing.ready import sqlite_place
from tests.gateway.other_makes import OtherMake, running
from tests.gateway.scene import Scene, scene
from tramontane.billing.limits import set_limit
from tramontane.catalogue.directory import DatedPrice, Offering, ProviderFacts, Resolved
from tramontane.catalogue.prices import Price, PriceDraft
from tramontane.catalogue.regions import is_within
from tramontane.catalogue.tables import LifecycleRow
from tramontane.errors import (
    NotAllowedError,
    PaymentRequiredError,
    RateLimitedError,
    TramontaneError,
    UnavailableError,
    UnknownModelError,
)
from tramontane.gateway.policy import ANY, Order, Policy
from tramontane.gateway.routing import Plan, blended, plan, refusal

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)

REGIONS = (None, "FR", "DE", "EU", "NO", "CH", "US", "CN")
RULES = ("FR", "DE", "EU", "EEA", "CH", "US")
USUAL, MODEL = Price("p", 2, 1, 6), Resolved("m")
OPERATORS = ("Mistral", "Winds", "Far Away Inc.")


def offering(
    name: str = "a",
    *,
    region: str | None = "FR",
    operator: str = "Winds",
    price: Price | None = USUAL,
    enabled: bool = True,
    provider_enabled: bool = True,
) -> Offering:
    at = (f"of {name}", name, "openai_compatible", "https://x/v1", "authorization", None)
    facts = ProviderFacts(*at, operator, region, provider_enabled)
    prices = () if price is None else (DatedPrice(price, NOW - DAY, NOW + DAY),)
    return Offering(name, "m", facts, "m", 4096, enabled, prices)


def planned(*offerings: Offering, policy: Policy = ANY, resolved: Resolved = MODEL, **kwargs: Any) -> Plan:
    return plan(
        resolved,
        offerings,
        policy,
        kwargs.get("moment", NOW),
        kwargs.get("hindrances", {}),
        kwargs.get("latencies", {}),
    )


def names(made: Plan) -> list[str]:
    return [candidate.offering.id for candidate in made.order]


def reason(made: Plan) -> str:
    [left] = made.left_out
    return left.reason


# ── the plan ────────────────────────────────────────────────────────────────────────────────────────────────────────

prices = st.builds(Price, st.just("p"), st.integers(0, 9), st.just(0), st.integers(0, 9))
offerings = st.lists(
    st.builds(
        offering,
        st.uuids().map(str),
        region=st.sampled_from(REGIONS),
        operator=st.sampled_from(OPERATORS),
        price=st.none() | prices,
        enabled=st.booleans(),
        provider_enabled=st.booleans(),
    ),
    max_size=8,
)
policies = st.builds(
    Policy,
    regions=st.none() | st.lists(st.sampled_from(RULES), min_size=1).map(tuple),
    operators=st.none() | st.lists(st.sampled_from(OPERATORS), min_size=1).map(tuple),
    order=st.sampled_from(["price", "latency", "listed"]),
)


@settings(deadline=None)
@given(offerings, policies, st.sampled_from(["available", "legacy", "deprecated", "retired"]), st.data())
def test_no_plan_leads_outside_of_what_is_allowed(
    given_: list[Offering], policy: Policy, stage: Any, data: st.DataObject
) -> None:
    ids = [one.id for one in given_]
    down = data.draw(st.sets(st.sampled_from(ids)) if ids else st.just(set()))
    latencies = data.draw(st.dictionaries(st.sampled_from(ids), st.floats(0, 9)) if ids else st.just({}))
    resolved = Resolved("m", stage=stage)
    made = plan(resolved, given_, policy, NOW, {id_: ("down", "it is down") for id_ in down}, latencies)
    for candidate in made.order:
        where, by = candidate.offering.provider.region, candidate.offering.provider.operator
        assert policy.regions is None or is_within(where, policy.regions)
        assert policy.operators is None or by in policy.operators
        assert candidate.offering.enabled
        assert candidate.offering.provider.enabled
        assert candidate.offering.id not in down
        assert candidate.price == candidate.offering.price_at(NOW)
        assert stage != "retired"
    told = names(made) + [left.offering.id for left in made.left_out]
    assert sorted(told) == sorted(ids), "each is tried or left out, with a reason"
    assert all(left.reason for left in made.left_out)
    assert (refusal(resolved, made) is None) == bool(made.order)


@pytest.mark.parametrize("allowed", [("EU",), ("EEA",), ("FR", "DE")])
def test_what_is_declared_nowhere_is_allowed_by_no_region(allowed: tuple[str, ...]) -> None:
    made = planned(offering(region=None), policy=Policy(regions=allowed))
    assert not made.order
    assert reason(made).startswith("its region is not declared")


@pytest.mark.parametrize(
    ("order", "expected"), [("price", ["c", "b", "a"]), ("latency", ["b", "c", "a"]), ("listed", ["a", "b", "c"])]
)
def test_the_order_is_the_policys(order: Order, expected: list[str]) -> None:
    three = [offering(name, price=Price("p", cost, 0, cost)) for name, cost in (("a", 9), ("b", 5), ("c", 1))]
    latencies = {"a": 0.9, "c": 0.2}  # b was never measured, so it is
    assert names(planned(*three, policy=Policy(order=order), latencies=latencies)) == expected


def test_prices_are_compared_as_usual_requests_mix_them() -> None:
    assert blended(Price("p", 10, 0, 0)) > blended(Price("p", 0, 0, 29))


def test_each_that_is_left_out_says_why() -> None:
    assert reason(planned(offering(enabled=False))) == "it is switched off"
    assert reason(planned(offering(provider_enabled=False))) == "its provider is switched off"
    assert reason(planned(offering(price=None))) == "it has no price at present"
    assert reason(planned(offering(), moment=NOW + 2 * DAY)) == "it has no price at present"
    assert reason(planned(offering(), hindrances={"a": ("down", "it failed")})) == "it failed"
    assert reason(planned(offering(), resolved=Resolved("m", stage="retired"))) == "the model has been retired"
    assert reason(planned(offering(region="US"), policy=Policy(regions=("EU",)))) == "its region US is not within EU"
    assert "Far Away" in reason(planned(offering(operator="Far Away"), policy=Policy(operators=("Winds",))))


def refused(*offerings: Offering, **kwargs: Any) -> TramontaneError:
    made = refusal(kwargs.get("resolved", MODEL), planned(*offerings, **kwargs))
    assert made is not None
    return made


def test_a_refusal_says_what_would_have_to_change() -> None:
    far, unpriced, eu = offering(region="US"), offering("b", price=None), Policy(regions=("EU",))
    down = {"a": ("down", "it failed 3 times in a row"), "b": ("down", "x")}
    rule = refused(far, policy=eu)
    assert isinstance(rule, NotAllowedError)
    assert rule.kind == "no_route_allowed"
    assert "its region US is not within EU" in str(rule)
    price = refused(far, unpriced, policy=eu)
    assert isinstance(price, PaymentRequiredError)
    assert price.kind == "no_price"
    unavailable = refused(offering(), unpriced, offering("c", region="US"), policy=eu, hindrances=down)
    assert isinstance(unavailable, UnavailableError)
    assert unavailable.kind == "no_route_available"
    retired = refused(offering(), resolved=Resolved("m", stage="retired", replacement="n"))
    assert isinstance(retired, UnknownModelError)
    assert "'n'" in str(retired)
    assert isinstance(refused(offering(enabled=False)), UnknownModelError)


# ── the way ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CHEAP, DEAR = PriceDraft(input=1_000_000, output=1_000_000), PriceDraft(input=9_000_000, output=9_000_000)
EU_ONLY = {"regions": ["EU"]}

Act = Callable[[Scene], Awaitable[None]]


def play(home: Path, servers: list[OtherMake], act: Act) -> None:
    async def main(db: Any) -> None:
        async with running(*servers), scene(db) as stage, asyncio.timeout(30):
            await act(stage)

    sqlite_place(home).run(main, upgrade=False)


FAULTS: list[dict[str, Any]] = [
    {"refuse": (500, {"error": "out of memory"})},
    {"refuse": (429, {"message": "slow down"})},
    {"refuse": (401, {"detail": "Unauthorized"})},
    {"refuse": (404, {"error": {"message": "no such deployment"}})},
    {"refuse": (302, {})},
    {"dies_after": 0},
    {"dies_after": 1},
    {"errs_after": 1},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_before_the_first_byte_another_offering_takes_over(fault: dict[str, Any], tmp_path: Path) -> None:
    broken, whole = OtherMake(**fault), OtherMake()

    async def act(stage: Scene) -> None:
        first = await stage.offer(broken, price=CHEAP, region="DE", operator="Föhn; Söhne")
        second = await stage.offer(whole, price=DEAR)
        answer, exchange = await stage.ask()
        assert answer.choices[0].finish_reason == "stop"
        assert exchange.headers["x-tramontane-route"].endswith("; region=FR; operator=Winds; attempts=2")
        [row] = await stage.usage()
        assert row.offering_id == second
        assert row.amount == row.prompt_tokens * 9 + row.output_tokens * 9
        assert stage.platform.health.of(first).failures == 1
        assert stage.platform.health.of(second).state == "healthy"
        assert len(exchange.notes) == 1, "the log tells what failed"

    play(tmp_path, [broken, whole], act)


def test_after_the_first_byte_nothing_takes_over(tmp_path: Path) -> None:
    broken, whole = OtherMake(dies_after=3), OtherMake()

    async def act(stage: Scene) -> None:
        await stage.offer(broken, price=CHEAP)
        await stage.offer(whole, price=DEAR)
        answer, _ = await stage.ask()
        assert answer.choices[0].finish_reason == "error"
        assert not whole.bodies

    play(tmp_path, [broken, whole], act)


def test_a_failing_offering_in_the_eu_never_leads_out_of_it(tmp_path: Path) -> None:
    eu, us, undeclared = OtherMake(refuse=(500, {})), OtherMake(), OtherMake()

    async def act(stage: Scene) -> None:
        await stage.offer(eu, region="FR")
        await stage.offer(us, region="US", price=CHEAP)
        await stage.offer(undeclared, region=None, price=CHEAP)
        for _ in range(6):  # beyond the point where the breaker opens
            with pytest.raises(UnavailableError) as failed:
                await stage.ask(principal=stage.under(**EU_ONLY))
            assert failed.value.kind == "no_route_available"
        assert not us.bodies
        assert not undeclared.bodies
        assert len(eu.bodies) == 3, "then it was left alone"
        eu.refuse = None
        await stage.platform._prober.probe()
        answer, _ = await stage.ask(principal=stage.under(**EU_ONLY))
        assert answer.choices[0].finish_reason == "stop"
        assert len(await stage.usage()) == 1

    play(tmp_path, [eu, us, undeclared], act)


def test_only_servers_that_are_left_alone_are_asked_whether_they_answer(tmp_path: Path) -> None:
    fine, broken, off = OtherMake(), OtherMake(refuse=(500, {})), OtherMake(refuse=(500, {}))

    async def act(stage: Scene) -> None:
        await stage.offer(fine, price=DEAR)
        failing = await stage.offer(broken, price=CHEAP)
        await stage.offer(off, model="unpriced", price=None)
        for _ in range(3):
            await stage.ask()
        await stage.platform._prober.probe()
        assert (fine.num_probes, broken.num_probes, off.num_probes) == (0, 1, 0)
        await stage.ask()
        assert len(broken.bodies) == 3, "it did not answer, so nothing has changed"
        broken.refuse = None
        await stage.platform._prober.probe()
        await stage.ask()
        assert len(broken.bodies) == 4
        assert stage.platform.health.of(failing).state == "healthy"

    play(tmp_path, [fine, broken, off], act)


def test_a_rule_that_cannot_be_met_costs_nothing_and_reaches_nobody(tmp_path: Path) -> None:
    server = OtherMake()

    async def act(stage: Scene) -> None:
        await stage.offer(server, region="US")
        with pytest.raises(NotAllowedError, match="its region US is not within EU") as refused:
            await stage.ask(principal=stage.under(**EU_ONLY))
        assert refused.value.kind == "no_route_allowed"
        with pytest.raises(NotAllowedError, match="cannot be followed") as refused:
            await stage.ask(principal=stage.under(regions=["Atlantis"]))
        assert refused.value.kind == "no_route_allowed"
        assert not server.bodies
        assert not await stage.usage()

    play(tmp_path, [server], act)


def test_a_key_may_use_its_models_alone(tmp_path: Path) -> None:
    server = OtherMake()

    async def act(stage: Scene) -> None:
        await stage.offer(server, model="mistral-small-2603")
        await stage.offer(OtherMake(url=server.url), model="other")
        key = replace(stage.principal, models=frozenset({"mistral-small-2603"}))
        await stage.ask(principal=key, model="mistral-small-2603")
        await stage.ask(principal=key, model="mistral-small-latest")
        with pytest.raises(NotAllowedError) as refused:
            await stage.ask(principal=key, model="other")
        assert refused.value.kind == "model_not_allowed"
        gateway = stage.platform.gateway
        assert [card.name for card in gateway.cards(key)] == ["mistral-small-2603"]
        assert {card.name for card in gateway.cards(stage.principal)} == {"mistral-small-2603", "other"}
        with pytest.raises(UnknownModelError, match="mistral-small-2603") as unknown:
            await stage.ask(principal=key, model="mistral-smal")
        assert "other" not in str(unknown.value)

    play(tmp_path, [server], act)


def test_no_price_no_money_and_no_room_refuse_before_anybody_is_asked(tmp_path: Path) -> None:
    server = OtherMake()

    async def act(stage: Scene) -> None:
        await stage.offer(server, model="unpriced", price=None)
        await stage.offer(server, model="dear", price=PriceDraft(input=9 * 10**14, output=9 * 10**14))
        await stage.offer(server)
        for model, kind in (("unpriced", "no_price"), ("dear", "no_money")):
            with pytest.raises(PaymentRequiredError) as refused:
                await stage.ask(model=model)
            assert refused.value.kind == kind
        async with stage.db.write() as session:
            workspace = stage.tenant.workspace_ids[0]
            limits = {"tokens_per_minute": 200}
            await set_limit(session, stage.tenant.organisation_id, "workspace", workspace, limits)
        await stage.platform.rates.refresh()
        _, exchange = await stage.ask()
        assert exchange.headers["x-ratelimit-limit-tokens-minute"] == "200"
        asked = len(server.bodies)
        stream, _ = await stage.begin()  # what the first one did not take was given back: now this one holds it
        with pytest.raises(RateLimitedError):
            await stage.ask()
        await stream.aclose()
        assert len(server.bodies) == asked + 1

    play(tmp_path, [server], act)


def test_a_model_near_its_end_says_so_in_headers(tmp_path: Path) -> None:
    server = OtherMake()

    async def act(stage: Scene) -> None:
        await stage.offer(server)
        ends = datetime.now(UTC).replace(microsecond=0) + 200 * DAY
        life: dict[str, Any] = {"stage": "legacy", "deprecated_at": ends - 100 * DAY, "retired_at": ends}
        async with stage.db.write() as session:
            session.add(LifecycleRow(model="m", legacy_at=ends - 250 * DAY, replacement="n", **life))
        await stage.platform.directory.refresh()
        _, exchange = await stage.ask()
        headers = exchange.headers
        assert headers["deprecation"] == f"@{int((ends - 100 * DAY).timestamp())}"
        assert headers["sunset"] == ends.strftime("%a, %d %b %Y %H:%M:%S GMT")
        assert headers["x-tramontane-replacement"] == "n"

    play(tmp_path, [server], act)
