"""Webhooks: each threshold of each month warns once, by a signed call that is tried until it is delivered, or a day."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from tests.billing.receiver import Receiver, receiving
from tests.billing.spending import buy, spend
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.accounts.secrets import Secret
from tramontane.accounts.vault import Vault
from tramontane.billing.budgets import Watched, check_webhook, create_budget, delete_budget, list_budgets
from tramontane.billing.months import month_of
from tramontane.billing.tables import Budget, MonthCount, WebhookCall
from tramontane.billing.webhooks import Webhooks
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.outbound.client import Outbound
from tramontane.storage.base import now
from tramontane.storage.database import Database


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@dataclass
class Shop:
    """An organisation with money, in a database of which webhooks take care."""

    db: Database
    tenant: Tenant
    vault: Vault
    outbound: Outbound

    def webhooks(self) -> Webhooks:
        """As another process has them."""
        return Webhooks(self.db, self.outbound, self.vault)

    async def look(self) -> None:
        """What happens every few seconds."""
        await self.webhooks().warn()
        await self.webhooks().deliver()

    async def budget(
        self, url: str | None, amount: int = 1_000, thresholds: Sequence[int] = (50, 80, 100), **changes: Any
    ) -> tuple[Watched, Secret | None]:
        values = {"name": "Autumn", "workspace_id": None, **changes}
        async with self.db.write() as session:
            return await create_budget(
                session, self.vault, self.tenant.organisation_id, amount=amount, thresholds=thresholds,
                webhook_url=url, **values,
            )  # fmt: skip

    async def listed(self) -> list[Watched]:
        async with self.db.read() as session:
            return await list_budgets(session, self.tenant.organisation_id)

    async def spent(self, amount: int) -> None:
        """So much of the organisation's this month."""
        place = {"scope": "organisation", "scope_id": self.tenant.organisation_id, "month": month_of(now())}
        async with self.db.write() as session:
            count = await session.get(MonthCount, tuple(place.values()))
            if count is None:
                session.add(MonthCount(**place, spend=amount))
            else:
                count.spend = amount

    async def calls(self) -> list[WebhookCall]:
        async with self.db.read() as session:
            return list(await session.scalars(select(WebhookCall).order_by(WebhookCall.id)))

    async def change(self, **values: Any) -> None:
        """Of all calls."""
        async with self.db.write() as session:
            await session.execute(update(WebhookCall).values(values))


@asynccontextmanager
async def shop(db: Database, home: Path) -> AsyncIterator[Shop]:
    async with db.write() as session:
        tenant = await add_tenant(session, workspaces=2)
    outbound = Outbound(public_means_public=False)
    try:
        yield Shop(db, tenant, Vault.open(home), outbound)
    finally:
        await outbound.close()


def percents(receiver: Receiver) -> list[int]:
    return [json.loads(body)["data"]["threshold_percent"] for _, body in receiver.calls]


def test_each_threshold_warns_once_a_month(place: Place, receiver: Receiver) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            await it.budget(receiver.url)
            for spent, expected in (
                (499, []),
                (500, [50]),
                (700, [50]),
                (1_200, [50, 80, 100]),
                (9_999, [50, 80, 100]),
            ):
                await it.spent(spent)
                await it.look()
                assert sorted(percents(receiver)) == expected
            assert [(one.spend, one.warned_percent) for one in await it.listed()] == [(9_999, 100)]
            async with db.write() as session:  # as after a month has turned
                await session.execute(update(Budget).values(warned_month="2025-01"))
            assert [one.warned_percent for one in await it.listed()] == [0]
            await it.look()
            assert sorted(percents(receiver)) == [50, 50, 80, 80, 100, 100]
            async with db.write() as session:  # as after a clock has jumped back
                await session.execute(update(Budget).values(warned_month="2999-01", warned_percent=50))
            await it.look()
            assert len(receiver.calls) == 6

    place.run(scenario)


def test_what_was_spent_of_a_month_warns_of_no_other(
    place: Place, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The month turns between the look and the warning."""

    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            await it.budget(receiver.url, thresholds=[50])
            await it.spent(600)
            webhooks = it.webhooks()
            monkeypatch.setattr("tramontane.billing.webhooks.now", lambda: now() + timedelta(days=31))
            await webhooks.warn()
            [call] = await it.calls()
            assert call.payload["data"]["month"] == month_of(now())
            async with db.read() as session:
                assert await session.scalar(select(Budget.warned_month)) == month_of(now())

    place.run(scenario)


def test_of_many_processes_one_warns_and_one_delivers(place: Place, receiver: Receiver) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            for _ in range(4):
                await it.budget(receiver.url, thresholds=[10, 20])
            await it.spent(300)
            others = [it.webhooks() for _ in range(5)]
            await asyncio.gather(*(one.warn() for one in others))
            await asyncio.gather(*(one.deliver() for one in others))
            assert len(await it.calls()) == 8
            assert len({headers["x-tramontane-delivery"] for headers, _ in receiver.calls}) == len(receiver.calls) == 8

    place.run(scenario)


def test_calls_are_signed(place: Place, receiver: Receiver) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            made, secret = await it.budget(receiver.url, thresholds=[80, 50, 80])
            assert secret is not None
            assert made.budget.thresholds == [50, 80]
            await it.spent(600)
            await it.look()
            ((headers, body),) = receiver.calls
            moment, _, digest = headers["x-tramontane-signature"].removeprefix("t=").partition(",v1=")
            assert abs(int(moment) - time.time()) < 60
            key = secret.reveal().encode()
            assert digest == hmac.digest(key, moment.encode() + b"." + body, "sha256").hex()
            told = json.loads(body)
            assert (told["type"], told["id"]) == ("budget.threshold_reached", headers["x-tramontane-delivery"])
            assert told["data"] == {
                "budget_id": made.budget.id,
                "name": "Autumn",
                "organisation_id": it.tenant.organisation_id,
                "workspace_id": None,
                "month": month_of(now()),
                "threshold_percent": 50,
                "amount": 1_000,
                "spend": 600,
                "currency": "EUR",
                "unit": "nano",
            }
            async with db.read() as session:
                stored = [str(row) for row in await session.execute(text("SELECT * FROM budgets"))]
            assert secret.reveal() not in "".join(stored)

    place.run(scenario)


def test_what_is_really_spent_counts_for_its_workspace(place: Place, receiver: Receiver) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            await buy(db, it.tenant, now())
            cost = await spend(db, it.tenant, now())
            first, second = it.tenant.workspace_ids
            await it.budget(receiver.url, amount=cost, thresholds=[100], workspace_id=first, name="first")
            await it.budget(receiver.url, amount=cost, thresholds=[100], workspace_id=second, name="second")
            await it.budget(receiver.url, amount=cost + 1, thresholds=[100], name="all")
            await it.look()
            assert [json.loads(body)["data"]["name"] for _, body in receiver.calls] == ["first"]
            assert {one.budget.name: one.spend for one in await it.listed()} == {
                "first": cost,
                "second": 0,
                "all": cost,
            }

    place.run(scenario)


def test_what_was_not_delivered_is_tried_again(place: Place, receiver: Receiver) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            await it.budget(receiver.url, thresholds=[50])
            await it.spent(500)
            pauses = []
            for receiver.status in (500, 404, 302):
                await it.look()
                await it.look()  # before its time nothing is tried
                (call,) = await it.calls()
                assert call.next_try_at is not None
                pauses.append((call.next_try_at - now()).total_seconds())
                assert [one.last_problem for one in await it.listed()] == [f"The receiver answered {receiver.status}."]
                await it.change(next_try_at=now())
            assert pauses == sorted(pauses)
            assert pauses[0] > 15
            receiver.status = 200
            await it.look()
            (call,) = await it.calls()
            assert (call.attempts, call.next_try_at, call.last_problem) == (4, None, None)
            assert call.delivered_at is not None
            assert [one.last_problem for one in await it.listed()] == [None]
            await it.look()
            assert len(receiver.calls) == 4
            assert len({headers["x-tramontane-delivery"] for headers, _ in receiver.calls}) == 1

    place.run(scenario)


def test_after_a_day_it_is_given_up_and_said(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            await it.budget("http://127.0.0.1:1/hook", thresholds=[50])
            await it.spent(500)
            await it.look()
            assert ["127.0.0.1:1 does not answer" in (one.last_problem or "") for one in await it.listed()] == [True]
            await it.change(created_at=now() - timedelta(days=1), next_try_at=now(), attempts=8)
            await it.look()
            (call,) = await it.calls()
            assert (call.next_try_at, call.delivered_at) == (None, None)
            (one,) = await it.listed()
            assert (one.last_problem or "").startswith("Given up after 9 tries. 127.0.0.1:1 does not answer")

    place.run(scenario)


def test_one_that_never_answers_keeps_no_other_waiting(
    place: Place, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            with receiving() as silent:
                silent.status = None
                await it.budget(silent.url, thresholds=[50], name="silent")
                await it.budget(receiver.url, thresholds=[50], name="quick")
                await it.spent(500)
                looking = asyncio.create_task(it.look())
                while not (silent.calls and receiver.calls):
                    assert not looking.done()
                    await asyncio.sleep(0.01)
                silent.ended.set()  # it hangs up without a word
                await looking
                problems = {one.budget.name: one.last_problem for one in await it.listed()}
                assert problems["quick"] is None
                assert "does not answer" in (problems["silent"] or "")
                silent.ended.clear()
                monkeypatch.setattr("tramontane.billing.webhooks._CALL_SECONDS", 0.2)
                await it.change(next_try_at=now())
                await it.look()
                problems = {one.budget.name: one.last_problem for one in await it.listed()}
                assert problems["silent"] == "The receiver did not answer within 0 seconds."

    place.run(scenario)


def test_without_a_webhook_it_is_only_noted(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            _, secret = await it.budget(None)
            assert secret is None
            await it.spent(850)
            await it.look()
            assert [one.warned_percent for one in await it.listed()] == [80]
            assert await it.calls() == []

    place.run(scenario)


def test_a_deleted_budget_takes_its_calls_along(place: Place, receiver: Receiver) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            made, _ = await it.budget(receiver.url)
            await it.spent(850)
            await it.webhooks().warn()
            async with db.write() as session:
                with pytest.raises(MissingError):
                    await delete_budget(session, it.tenant.workspace_ids[0], made.budget.id)
                await delete_budget(session, it.tenant.organisation_id, made.budget.id)
            await it.look()
            assert await it.calls() == await it.listed() == receiver.calls == []

    place.run(scenario)


def test_a_lost_key_of_the_vault_is_told(place: Place, receiver: Receiver) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            await it.budget(receiver.url)
            (place.home / "vault.key").unlink()
            it.vault = Vault.open(place.home)
            await it.spent(500)
            await it.look()
            assert ["is lost: restore" in (one.last_problem or "") for one in await it.listed()] == [True]
            assert receiver.calls == []

    place.run(scenario)


def test_what_cannot_be_watched_is_refused(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with shop(db, place.home) as it:
            async with db.write() as session:
                other = await add_tenant(session, "Bora")
            for workspace_id in (other.workspace_ids[0], "0" * 32, ""):
                with pytest.raises(MissingError, match="no such workspace"):
                    await it.budget(None, workspace_id=workspace_id)
            made, _ = await it.budget(None)
            same = {"organisation_id": made.budget.organisation_id, "name": "x", "amount": 1, "thresholds": [1]}
            async with db.write() as session:
                session.add_all(Budget(**same) for _ in range(99))
            with pytest.raises(ConflictError, match="100 budgets"):
                await it.budget(None)

    place.run(scenario)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/hook", "by https"),
        ("https://127.0.0.1/hook", "private network"),
        ("https://10.1.2.3/hook", "private network"),
        ("https://169.254.169.254/latest", "never called"),
        ("https://user:password@example.org/", "no user and no password"),
        ("file:///etc/passwd", "https://"),
        ("not a URL", "https://"),
        ("https://", "https://"),
    ],
)
def test_urls_that_can_never_be_called_are_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason) as refused:
        check_webhook(Outbound(), url)
    assert refused.value.field == "webhook_url"


def test_an_operator_may_allow_webhooks_in_the_house() -> None:
    check_webhook(Outbound(public_means_public=False), "http://127.0.0.1:9000/hook")
    check_webhook(Outbound(), "https://example.org/hook")
