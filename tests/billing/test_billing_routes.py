"""Usage, money and limits over HTTP: who may see and change them, of whom, and what is refused."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.api.live import LiveServer, serve, write_tekken_model
from tests.api.talking import CHAT, Reply, ask, chat
from tests.billing.receiver import receiving
from tests.billing.spending import EURO, spend
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tests.storage.postgres import postgres_server
from tramontane.accounts.keys import create_key
from tramontane.accounts.owners import first_owner
from tramontane.accounts.tables import Membership, Role, User, Workspace
from tramontane.billing.months import month_of
from tramontane.catalogue.family import family
from tramontane.storage.base import new_id, now
from tramontane.storage.database import Database

ROLES: tuple[Role, ...] = get_args(Role)
MONTH = month_of(now())


@dataclass
class House:
    """A server, the organisation that runs it, and one that it sells to, with a key for each role."""

    server: LiveServer
    place: Place
    customer: Tenant
    operators: dict[str, str] = field(default_factory=dict)
    customers: dict[str, str] = field(default_factory=dict)

    def do(self, scenario: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
        """In the server's database, beside it."""
        return self.place.run(scenario, upgrade=False)

    def ask(self, path: str, body: Any = None, *, key: str, method: str | None = None) -> Reply:
        return ask(self.server, path, body, key=key, method=method)

    def done(self, path: str, body: Any = None, *, key: str, method: str | None = None) -> Any:
        """The JSON of what must succeed."""
        reply = self.ask(path, body, key=key, method=method)
        assert reply.status == 200, reply.text
        return reply.json

    @property
    def owner(self) -> str:
        return self.customers["owner"]

    @property
    def seller(self) -> str:
        return self.operators["owner"]

    def sold(self, kind: str = "credit", amount: int = 5 * EURO, **changes: Any) -> dict[str, Any]:
        """A lot of the customer's."""
        body = {"organisation_id": self.customer.organisation_id, "kind": kind, "name": "Sold", "amount": amount}
        return self.done("/v1/billing/lots", {**body, **changes}, key=self.seller)  # type: ignore[no-any-return]

    def spent(self, output: int = 50) -> int:
        """What a request of the customer's first key cost."""
        return self.do(lambda db: spend(db, self.customer, now(), output=output))  # type: ignore[no-any-return]


# What the routes ask of a database is tested on both with what they call: here one is enough for every change.
@pytest.fixture(scope="module", params=[pytest.param("sqlite", marks=pytest.mark.heavy), "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home: Path = tmp_path_factory.mktemp("home")
    url = None if request.param == "sqlite" else postgres_server().new_database()
    model = write_tekken_model(tmp_path_factory.mktemp("model"), 13)
    env = {"TRAMONTANE_WEBHOOKS_TO_PRIVATE": "1", **({} if url is None else {"TRAMONTANE_DATABASE_URL": url})}
    with serve(f"--model=small={model}", "--kv-memory=8MiB", home=home, env=env) as server:
        place = Place(url, home)
        yield place.run(lambda db: furnish(db, server, place), upgrade=False)


async def furnish(db: Database, server: LiveServer, place: Place) -> House:
    async with db.write() as session:
        house = House(server, place, await add_tenant(session, "Bora", workspaces=2))
        home = await session.get_one(Workspace, (await first_owner(session)).workspace_id)
        for keys, organisation, workspace in (
            (house.operators, home.organisation_id, home.id),
            (house.customers, house.customer.organisation_id, house.customer.workspace_ids[0]),
        ):
            for role in ROLES:
                user = User(name=role)
                session.add(user)
                await session.flush()
                session.add(Membership(user_id=user.id, organisation_id=organisation, role=role))
                await session.flush()
                keys[role] = (await create_key(session, workspace, user.id, role)).reveal()
    return house


# ── who may what ────────────────────────────────────────────────────────────────────────────────────────────────────

EVERYBODY_BUT_MEMBERS = {"owner", "admin", "developer", "billing"}
WITH_MONEY = {"owner", "admin", "billing"}
SPENDERS = {"owner", "billing"}
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("GET", "/v1/usage"): EVERYBODY_BUT_MEMBERS,
    ("GET", "/v1/usage/requests"): EVERYBODY_BUT_MEMBERS,
    ("GET", "/v1/usage/export"): EVERYBODY_BUT_MEMBERS,
    ("GET", "/v1/limits"): EVERYBODY_BUT_MEMBERS,
    ("PUT", "/v1/limits/workspace/{workspace}"): {"owner", "admin"},
    ("GET", "/v1/billing"): WITH_MONEY,
    ("GET", "/v1/billing/lots"): WITH_MONEY,
    ("GET", "/v1/billing/lots/{lot}"): WITH_MONEY,
    ("GET", "/v1/billing/transfers"): WITH_MONEY,
    ("GET", "/v1/billing/statements"): WITH_MONEY,
    ("GET", f"/v1/billing/statements/{MONTH}"): WITH_MONEY,
    ("GET", f"/v1/billing/statements/{MONTH}/csv"): WITH_MONEY,
    ("GET", f"/v1/billing/statements/{MONTH}/pdf"): WITH_MONEY,
    ("GET", "/v1/billing/budgets"): WITH_MONEY,
    ("POST", "/v1/billing/budgets"): SPENDERS,
    ("DELETE", "/v1/billing/budgets/{budget}"): SPENDERS,
    ("PUT", "/v1/billing/pay-as-you-go"): SPENDERS,
    ("POST", "/v1/billing/lots"): set(),
    ("POST", "/v1/billing/lots/{lot}/cancel"): set(),
}
BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/v1/limits/workspace/{workspace}"): {},
    ("POST", "/v1/billing/budgets"): {"name": "x", "amount": 5},
    ("PUT", "/v1/billing/pay-as-you-go"): {"monthly_cap": None},
    ("POST", "/v1/billing/lots"): {"kind": "credit", "name": "x", "amount": 1},
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_it_may_and_no_more(house: House, role: str) -> None:
    for (method, path), allowed in ALLOWED.items():
        lot, body = house.sold(), BODIES.get((method, path), b"" if method == "POST" else None)
        budget = house.done("/v1/billing/budgets", {"name": "x", "amount": 5}, key=house.owner)
        ids = {"workspace": house.customer.workspace_ids[1], "lot": lot["id"], "budget": budget["id"]}
        reply = house.ask(path.format_map(ids), body, key=house.customers[role], method=method)
        assert reply.status == (403 if role not in allowed else 204 if method == "DELETE" else 200), (path, reply.text)
        if reply.status == 403:
            assert reply.json["type"] == "forbidden"
        house.ask(f"/v1/billing/budgets/{budget['id']}", key=house.owner, method="DELETE")


def test_what_is_anothers_is_as_if_it_were_not(house: House) -> None:
    lot, customer = house.sold("commitment", ends_at=later()), house.customer
    budget = house.done("/v1/billing/budgets", {"name": "x", "amount": 5}, key=house.owner)
    house.spent()
    operator = house.done("/v1/me", key=house.seller)
    for key, path, body, method in (
        (house.seller, "/v1/billing/lots/{}", None, "GET"),
        (house.seller, "/v1/billing/budgets/{}", None, "DELETE"),
        (house.seller, "/v1/limits/workspace/{}", {}, "PUT"),
        (house.seller, "/v1/limits/organisation/{}", {}, "PUT"),
        (house.seller, "/v1/limits/key/{}", {}, "PUT"),
        (house.owner, "/v1/limits/organisation/{}", {}, "PUT"),
    ):
        ids = [lot["id"], budget["id"], *customer.workspace_ids, *customer.key_ids, new_id(), "x"]
        ids.append(customer.organisation_id if key == house.seller else operator["organisation_id"])
        replies = [house.ask(path.format(one), body, key=key, method=method) for one in ids]
        assert {(reply.status, reply.json["message"]) for reply in replies} == {(404, replies[0].json["message"])}
    # The operator's own lists and reports hold nothing of the customer's, whatever they are filtered by.
    for path in (
        "/v1/usage?by=key", f"/v1/usage?workspace_id={customer.workspace_ids[0]}", "/v1/usage/requests",
        f"/v1/usage/requests?key_id={customer.key_ids[0]}", "/v1/usage/export", "/v1/billing", "/v1/billing/lots",
        "/v1/billing/transfers", "/v1/billing/budgets", "/v1/limits", "/v1/billing/statements",
    ):  # fmt: skip
        reply = house.ask(path, key=house.seller)
        assert reply.status == 200
        shown = reply.text.replace(f'"workspace_id":"{customer.workspace_ids[0]}"', "")
        assert not [
            one for one in (lot["id"], budget["id"], *customer.workspace_ids, *customer.key_ids) if one in shown
        ]
    assert house.done("/v1/usage", key=house.seller)["total"]["amount"] == 0
    body = {"name": "x", "amount": 5, "workspace_id": operator["workspace_id"]}
    assert house.ask("/v1/billing/budgets", body, key=house.owner).status == 404
    for organisation in (new_id(), "x", customer.organisation_id + "0"):
        body = {"organisation_id": organisation, "kind": "credit", "name": "x", "amount": 5}
        assert house.ask("/v1/billing/lots", body, key=house.seller).status == 404
        body = {"organisation_id": organisation, "monthly_cap": 5}
        assert house.ask("/v1/billing/pay-as-you-go", body, key=house.seller, method="PUT").status == 404
        assert house.ask("/v1/billing/pay-as-you-go", body, key=house.owner, method="PUT").status == 404


def later(days: int = 30) -> str:
    return (now() + timedelta(days=days)).isoformat()


# ── money ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_commitment_is_bought_falls_and_is_on_the_bill(house: House) -> None:
    lot = house.sold("commitment", 10 * EURO, name="Three winds", ends_at=later())
    assert (lot["balance"], lot["held"], lot["state"]) == (10 * EURO, 0, "active")
    before = house.done("/v1/billing", key=house.owner)
    statement = house.done(f"/v1/billing/statements/{MONTH}", key=house.owner)
    cost = house.spent()
    after = house.done("/v1/billing", key=house.owner)
    assert after["available"] == before["available"] - cost
    assert after["month_spend"] == before["month_spend"] + cost
    assert [one["kind"] for one in after["lots"]] == sorted((one["kind"] for one in after["lots"]), key=DRAWN.index)
    assert lot["id"] in {one["id"] for one in house.done("/v1/billing/lots", key=house.owner)["data"]}

    detail = house.done(f"/v1/billing/lots/{soonest(after)}", key=house.owner)
    assert [point["balance"] for point in detail["curve"][-2:]] == [detail["balance"]] * 2
    assert detail["curve"][0]["balance"] == detail["amount"]
    assert detail["pace"] >= cost

    newest = house.done("/v1/billing/transfers?limit=1", key=house.owner)
    assert newest["data"][0]["kind"] == "charge"
    assert sorted(posting["amount"] for posting in newest["data"][0]["postings"]) == [-cost, cost]
    seen, before_cursor = [], newest["next"]
    while before_cursor:
        page = house.done(f"/v1/billing/transfers?limit=2&before={before_cursor}", key=house.owner)
        seen += page["data"]
        before_cursor = page["next"]
    assert len({one["id"] for one in seen}) == len(seen) > 2
    assert all(sum(posting["amount"] for posting in one["postings"]) == 0 for one in seen)

    billed = house.done(f"/v1/billing/statements/{MONTH}", key=house.owner)
    assert billed["charged"] == statement["charged"] + cost == sum(line["amount"] for line in billed["lines"])
    assert billed["due"] == statement["due"] + cost
    assert (billed["is_final"], billed["organisation"]) == (False, "Bora")


DRAWN = ["commitment", "free", "credit", "pay_as_you_go"]


def soonest(overview: dict[str, Any]) -> str:
    """The lot that a request is paid by."""
    return next(one["id"] for one in overview["lots"] if one["kind"] == "commitment")


def test_a_statement_comes_as_files(house: House) -> None:
    house.sold()
    house.spent()
    assert house.done("/v1/billing/statements", key=house.owner)["data"] == [MONTH]
    table = house.ask(f"/v1/billing/statements/{MONTH}/csv", key=house.owner)
    paper = house.ask(f"/v1/billing/statements/{MONTH}/pdf", key=house.owner)
    for reply, kind in ((table, "csv"), (paper, "pdf")):
        name = f"statement-{MONTH}-{house.customer.organisation_id[-8:]}.{kind}"
        assert reply.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert table.headers["content-type"].startswith("text/csv")
    assert "Bora" in table.text
    assert paper.headers["content-type"] == "application/pdf"
    assert paper.body.startswith(b"%PDF-")
    for month in ("2020-01", "2026-13", "x", "9999-99"):
        for ending in ("", "/csv", "/pdf"):
            assert house.ask(f"/v1/billing/statements/{month}{ending}", key=house.owner).status == 404


def test_a_lot_is_cancelled_by_the_operator(house: House) -> None:
    lot = house.sold()
    before = house.done("/v1/billing", key=house.owner)["available"]
    ended = house.done(f"/v1/billing/lots/{lot['id']}/cancel", b"", key=house.seller)
    assert (ended["state"], ended["balance"]) == ("cancelled", 0)
    assert house.done("/v1/billing", key=house.owner)["available"] == before - lot["balance"]
    assert house.ask(f"/v1/billing/lots/{lot['id']}/cancel", b"", key=house.seller).status == 409
    assert house.ask(f"/v1/billing/lots/{new_id()}/cancel", b"", key=house.seller).status == 404
    actions = [one["action"] for one in house.done("/v1/audit", key=house.seller)["data"][:2]]
    assert actions == ["lot.cancel", "lot.create"]


def test_who_spends_may_only_lower_what_is_paid_later(house: House) -> None:
    def put(cap: int | None, key: str, **body: Any) -> Reply:
        return house.ask("/v1/billing/pay-as-you-go", {"monthly_cap": cap, **body}, key=key, method="PUT")

    def of_customer(cap: int | None, key: str = "") -> Reply:
        return put(cap, key or house.seller, organisation_id=house.customer.organisation_id)

    assert put(1_000, house.owner).status == 403
    assert of_customer(1_000, house.operators["billing"]).json["pay_as_you_go_cap"] == 1_000
    assert house.done("/v1/billing", key=house.owner)["pay_as_you_go_cap"] == 1_000
    assert put(1_001, house.customers["billing"]).status == 403
    lowered = put(400, house.customers["billing"]).json
    assert (lowered["pay_as_you_go_cap"], lowered["pay_as_you_go_spend"]) == (400, 0)
    assert put(401, house.owner).status == 403
    assert put(None, house.owner).json["pay_as_you_go_cap"] is None
    assert put(1, house.owner).status == 403
    assert of_customer(2_000).status == of_customer(None).status == 200
    assert put(5, house.operators["admin"]).json["pay_as_you_go_cap"] == 5  # who sells needs no other permission
    assert put(None, house.operators["admin"]).status == 200
    last = house.done("/v1/audit?limit=1", key=house.seller)["data"][0]
    assert (last["action"], last["detail"]) == ("pay_as_you_go.set", {"monthly_cap": None, "before": 5})


# ── usage, budgets, limits ──────────────────────────────────────────────────────────────────────────────────────────


def test_usage_is_there_at_once(house: House) -> None:
    house.sold()
    before = house.done("/v1/usage", key=house.customers["developer"])["total"]
    cost = house.spent(output=77)
    for by, group in (
        ("model", "small"),
        ("key", house.customer.key_ids[0]),
        ("workspace", house.customer.workspace_ids[0]),
        ("day", f"{now():%Y-%m-%d}"),
    ):
        found = house.done(f"/v1/usage?by={by}", key=house.customers["developer"])
        assert found["total"]["amount"] == before["amount"] + cost
        assert group in {one["group"] for one in found["groups"]}
        assert (found["by"], found["end"]) == (by, f"{now():%Y-%m-%d}")
    page = house.done("/v1/usage/requests?limit=1", key=house.customers["developer"])
    newest = page["data"][0]
    assert (newest["amount"], newest["output_tokens"], newest["key_name"]) == (cost, 77, "key of Bora 0")
    export = house.ask("/v1/usage/export", key=house.customers["developer"])
    lines = list(csv.DictReader(io.StringIO(export.text)))
    assert lines[-1]["id"] == newest["id"]
    assert export.headers["content-disposition"].startswith('attachment; filename="usage-')


def test_a_budget_warns_by_its_webhook(house: House) -> None:
    house.sold()
    house.spent()
    with receiving() as receiver:
        body = {"name": "Autumn", "amount": 1, "thresholds": [100], "webhook_url": receiver.url}
        made = house.done("/v1/billing/budgets", body, key=house.customers["billing"])
        assert made["webhook_secret"].startswith("whsec_")
        assert made["spend"] >= 1
        wait_until(lambda: bool(receiver.calls), 20)
        listed = house.ask("/v1/billing/budgets", key=house.owner)
        (one,) = (budget for budget in listed.json["data"] if budget["id"] == made["id"])
        assert (one["warned_percent"], one["last_problem"]) == (100, None)
        assert made["webhook_secret"] not in listed.text
    (_, told), *more = receiver.calls
    assert (json.loads(told)["data"]["budget_id"], more) == (made["id"], [])
    entries = house.ask("/v1/audit?limit=5", key=house.owner)
    assert entries.json["data"][0]["action"] == "budget.create"
    assert made["webhook_secret"] not in entries.text
    assert house.ask(f"/v1/billing/budgets/{made['id']}", key=house.owner, method="DELETE").status == 204
    assert house.ask(f"/v1/billing/budgets/{made['id']}", key=house.owner, method="DELETE").status == 404


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    async def wait() -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)

    asyncio.run(wait())


def test_a_limit_counts_from_the_next_request_on(house: House) -> None:
    key, workspace = house.customers["developer"], house.customer.workspace_ids[0]
    path = f"/v1/limits/workspace/{workspace}"
    values = {"requests_per_second": 1, "tokens_per_minute": 5_000, "tokens_per_month": 10**9, "spend_per_month": 0}
    try:
        body = house.done(path, values, key=house.owner, method="PUT")
        assert (body["scope"], body["name"]) == ("workspace", "Bora 0")
        assert {name: body[name] for name in values} == values
        listed = house.done("/v1/limits", key=key)["data"]
        assert body in listed
        assert [one["scope"] for one in listed[:3]] == ["organisation", "workspace", "workspace"]
        assert {one["name"] for one in listed if one["scope"] == "key"} >= {"key of Bora 0", "developer"}
        replies = [house.ask(CHAT, chat(tokens=1), key=key) for _ in range(6)]
        assert replies[0].status == 200
        assert replies[0].headers["x-ratelimit-limit-tokens-minute"] == "5000"
        refused = next(reply for reply in replies if reply.status != 200)
        assert (refused.status, refused.json["type"], refused.json["code"]) == (429, "rate_limited", "1300")
        assert "this workspace, 1 request a second" in refused.json["message"]
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-ratelimit-remaining-req-second"] == "0"
    finally:
        lifted = house.done(path, {}, key=house.owner, method="PUT")
    assert {lifted[name] for name in values} == {None}
    assert {house.ask(CHAT, chat(tokens=1), key=key).status for _ in range(6)} == {200}
    entries = house.done("/v1/audit?action=limit.set", key=house.owner)["data"]
    assert (entries[0]["target_id"], entries[1]["detail"]) == (workspace, values)


def test_a_rotated_key_keeps_its_limits(house: House) -> None:
    mine = next(one for one in house.done("/v1/limits", key=house.owner)["data"] if one["name"] == "admin")
    values = {"requests_per_second": 3, "tokens_per_minute": 999}
    house.done(f"/v1/limits/key/{mine['scope_id']}", values, key=house.owner, method="PUT")
    rotated = house.done(f"/v1/keys/{mine['scope_id']}/rotate", {"overlap_hours": 1}, key=house.customers["admin"])
    limits = {one["scope_id"]: one for one in house.done("/v1/limits", key=house.owner)["data"]}
    assert {name: limits[rotated["id"]][name] for name in values} == values
    house.done(f"/v1/limits/key/{mine['scope_id']}", {}, key=house.owner, method="PUT")


def test_a_lot_pays_for_the_model_that_a_name_means(house: House) -> None:
    model = next(model for model in family() if model.aliases and model.lifecycle.stage == "available")
    assert house.sold(models=[model.aliases[0]])["models"] == [model.name]
    body = {"kind": "credit", "name": "x", "amount": 5, "models": [model.name, "no such wind"]}
    refused = house.ask("/v1/billing/lots", body, key=house.seller)
    assert refused.status == 400
    assert "no such wind" in refused.text


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────

LOT = {"kind": "credit", "name": "x", "amount": 5}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/billing/lots", {**LOT, "amount": -1}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "amount": 0}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "amount": 10**16}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "amount": 1.5}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "kind": "pay_as_you_go"}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "kind": "commitment"}, 400),
        ("POST", "/v1/billing/lots", {**LOT, "ends_at": "2020-01-01T00:00:00Z"}, 400),
        ("POST", "/v1/billing/lots", {**LOT, "ends_at": "2030-01-01T00:00:00"}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "ends_at": "0001-01-01T00:00:00+14:00"}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "ends_at": "9999-12-31T23:59:59-14:00"}, 422),
        ("POST", "/v1/billing/lots", {**LOT, "models": []}, 400),
        ("POST", "/v1/billing/lots", {**LOT, "models": ["a\x00"]}, 400),
        ("POST", "/v1/billing/lots", {**LOT, "name": "\x00"}, 200),
        ("PUT", "/v1/billing/pay-as-you-go", {"monthly_cap": -5}, 422),
        ("PUT", "/v1/billing/pay-as-you-go", {}, 422),
        ("POST", "/v1/billing/budgets", {"name": "x", "amount": 0}, 422),
        ("POST", "/v1/billing/budgets", {"name": "x", "amount": 1, "thresholds": []}, 422),
        ("POST", "/v1/billing/budgets", {"name": "x", "amount": 1, "thresholds": [0]}, 422),
        ("POST", "/v1/billing/budgets", {"name": "x", "amount": 1, "webhook_url": "ftp://x"}, 400),
        ("POST", "/v1/billing/budgets", {"name": "x", "amount": 1, "webhook_url": "http://169.254.169.254/"}, 400),
        ("POST", "/v1/billing/budgets", {"name": "x", "amount": 1, "webhook_url": "http://x/\x00"}, 400),
        ("GET", "/v1/usage?start=2026-02-30", None, 422),
        ("GET", "/v1/usage?start=2026-03-02&end=2026-03-01", None, 400),
        ("GET", "/v1/usage?start=2020-01-01&end=2026-03-01", None, 400),
        ("GET", "/v1/usage?end=0001-01-01", None, 400),
        ("GET", "/v1/usage/export?end=9999-12-31", None, 400),
        ("GET", "/v1/usage?by=colour", None, 422),
        ("GET", "/v1/usage?model=%00&key_id=%00&workspace_id=%00", None, 200),
        ("GET", "/v1/usage/requests?model=%00&key_id=%00&workspace_id=%00", None, 200),
        ("GET", "/v1/usage/requests?before=x", None, 400),
        ("GET", "/v1/usage/requests?limit=0", None, 422),
        ("GET", "/v1/billing/transfers?before=99999999999999999999-a", None, 400),
        ("PUT", "/v1/limits/house/{workspace}", {}, 422),
        ("PUT", "/v1/limits/workspace/{workspace}", {"requests_per_second": 0}, 422),
        ("PUT", "/v1/limits/workspace/{workspace}", {"tokens_per_minute": -1}, 422),
        ("PUT", "/v1/limits/workspace/{workspace}", {"tokens_per_month": 10**30}, 422),
    ],
)
def test_bad_input_is_refused_with_its_reason(house: House, method: str, path: str, body: Any, status: int) -> None:
    workspace = house.done("/v1/me", key=house.seller)["workspace_id"]
    reply = house.ask(path.format(workspace=workspace), body, key=house.seller, method=method)
    assert reply.status == status, reply.text
    if status != 200:
        assert reply.json["message"]
