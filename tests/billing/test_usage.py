"""Usage: reports are the sums of the requests, pages hold each request once, and no cell of an export is a formula."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import astuple
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.billing.spending import FREE, PRICE, buy, moment, spend
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.accounts.tables import ApiKey, Workspace
from tramontane.billing.tables import UsageRow
from tramontane.billing.usage import BROWSER, THE_REST, By, Filters, export, list_requests, period, report
from tramontane.errors import InvalidRequestError
from tramontane.storage.database import Database

START, END = date(2025, 2, 27), date(2025, 3, 3)
MODELS = [f"model {number}" for number in range(13)]


async def used(db: Database) -> tuple[Tenant, Tenant, list[UsageRow]]:
    """Two organisations that used much over some days; and the rows of the first."""
    async with db.write() as session:
        tenant = await add_tenant(session, "Meltemi", workspaces=2)
        other = await add_tenant(session, "Bora")
    chance = random.Random(6)
    for who, requests in ((tenant, 36), (other, 3)):
        await buy(db, who, moment(2))
        for _ in range(requests):
            await spend(
                db,
                who,
                moment(2, 27, chance.randrange(24)) + timedelta(days=chance.randrange(5)),
                workspace=chance.randrange(len(who.workspace_ids)),
                browser=chance.random() < 0.3,
                model=chance.choice(MODELS),
                prompt=chance.randrange(10, 1000),
                cached=chance.randrange(10),
                output=chance.randrange(1, 500),
                price=FREE if chance.random() < 0.1 else PRICE,
            )
    async with db.read() as session:
        rows = await session.scalars(select(UsageRow).where(UsageRow.organisation_id == tenant.organisation_id))
        return tenant, other, list(rows)


def sums(rows: list[UsageRow]) -> tuple[int, ...]:
    return (
        len(rows),
        sum(row.prompt_tokens for row in rows),
        sum(row.cached_tokens for row in rows),
        sum(row.output_tokens for row in rows),
        sum(row.amount for row in rows),
    )


def group_of(row: UsageRow, by: By) -> str:
    return {
        "model": row.model,
        "key": row.key_id or "",
        "workspace": row.workspace_id,
        "day": row.settled_at.date().isoformat(),
    }[by]


def test_a_report_is_the_sum_of_the_requests(place: Place) -> None:
    async def scenario(db: Database) -> None:
        tenant, _, rows = await used(db)
        filters = [
            Filters(),
            Filters(model=MODELS[3]),
            Filters(key_id=tenant.key_ids[1]),
            Filters(key_id=""),
            Filters(workspace_id=tenant.workspace_ids[0], model=MODELS[0]),
            Filters(model="nobody's"),
        ]
        for by in ("model", "key", "workspace", "day"):
            for chosen in filters:
                for start, end in ((START, END), (START, START), (END + timedelta(days=1), END + timedelta(days=9))):
                    await check(db, tenant, rows, by, chosen, start, end)  # type: ignore[arg-type]
        await check_names(db, tenant)

    place.run(scenario)


async def check_names(db: Database, tenant: Tenant) -> None:
    async with db.read() as session:
        by_key = await report(session, tenant.organisation_id, START, END, "key", Filters())
        by_workspace = await report(session, tenant.organisation_id, START, END, "workspace", Filters())
    assert {one.group: one.name for one in [*by_key.groups, *by_workspace.groups]} == {
        "": BROWSER,
        tenant.key_ids[0]: "key of Meltemi 0",
        tenant.key_ids[1]: "key of Meltemi 1",
        tenant.workspace_ids[0]: "Meltemi 0",
        tenant.workspace_ids[1]: "Meltemi 1",
    }


async def check(
    db: Database, tenant: Tenant, rows: list[UsageRow], by: By, chosen: Filters, start: date, end: date
) -> None:
    expected = [
        row
        for row in rows
        if start <= row.settled_at.date() <= end
        and chosen.model in (None, row.model)
        and chosen.key_id in (None, row.key_id or "")
        and chosen.workspace_id in (None, row.workspace_id)
    ]
    async with db.read() as session:
        found = await report(session, tenant.organisation_id, start, end, by, chosen)
    groups = {group_of(row, by) for row in expected}
    assert astuple(found.total)[3:] == sums(expected)
    assert {one.group: astuple(one)[3:] for one in found.groups} == {
        group: sums([row for row in expected if group_of(row, by) == group]) for group in groups
    }
    if by != "day":
        assert [one.amount for one in found.groups] == sorted((one.amount for one in found.groups), reverse=True)
    # Of each day: the ten dearest groups, and the rest together.
    shown = {one.group for one in (found.groups if by == "day" else found.groups[:10])}
    days: dict[tuple[date, str], list[UsageRow]] = {}
    for row in expected:
        group = group_of(row, by)
        days.setdefault((row.settled_at.date(), group if group in shown else THE_REST), []).append(row)
    assert {(one.day, one.group): astuple(one)[3:] for one in found.days} == {
        place: sums(of_day) for place, of_day in days.items()
    }


def test_pages_hold_each_request_once_the_newest_first(place: Place) -> None:
    """Many were settled at the same moment, and so fall on both sides of a page's end."""

    async def scenario(db: Database) -> None:
        tenant, _, rows = await used(db)
        for chosen, expected in (
            (Filters(), rows),
            (Filters(key_id=""), [row for row in rows if row.key_id is None]),
            (Filters(model=MODELS[1]), [row for row in rows if row.model == MODELS[1]]),
        ):
            seen: list[UsageRow] = []
            before: str | None = None
            while True:
                async with db.read() as session:
                    page, before = await list_requests(session, tenant.organisation_id, chosen, before, 7)
                seen += [row for row, _ in page]
                assert {name for _, name in page} <= {BROWSER, "key of Meltemi 0", "key of Meltemi 1"}
                if before is None:
                    break
                assert len(page) == 7
            assert [row.id for row in seen] == [
                row.id for row in sorted(expected, key=lambda row: (row.settled_at, row.id), reverse=True)
            ]
        async with db.read() as session:
            with pytest.raises(InvalidRequestError, match="before"):
                await list_requests(session, tenant.organisation_id, Filters(), "x-y", 7)

    place.run(scenario)


def test_an_export_has_every_request_and_no_formula(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tramontane.billing.usage._AT_ONCE", 7)  # so that it comes in many pieces

    async def scenario(db: Database) -> None:
        tenant, _, rows = await used(db)
        async with db.write() as session:
            await session.execute(update(Workspace).where(Workspace.id == tenant.workspace_ids[0]).values(name="=1+1"))
            await session.execute(
                update(ApiKey).where(ApiKey.id == tenant.key_ids[0]).values(name='@SUM(A1)",\n"second line')
            )
            await session.execute(update(UsageRow).where(UsageRow.id == rows[0].id).values(model="-2+3"))
        pieces = [piece async for piece in export(db, tenant.organisation_id, START, END)]
        assert len(pieces) > 5
        found = list(csv.DictReader(io.StringIO("".join(pieces), newline="")))
        assert [line["id"] for line in found] == [
            row.id for row in sorted(rows, key=lambda row: (row.settled_at, row.id))
        ]
        assert not [cell for line in found for cell in line.values() if cell.startswith(tuple("=+-@\t\r"))]
        assert {line["workspace"] for line in found} == {"'=1+1", "Meltemi 1"}
        assert {line["key"] for line in found} == {'\'@SUM(A1)",\n"second line', "key of Meltemi 1", BROWSER}
        by_id = {row.id: row for row in rows}
        for line in found:
            row = by_id[line["id"]]
            assert line["amount_eur"] == f"{row.amount / 10**9:.9f}"
            assert (line["output_tokens"], line["settled_at"]) == (str(row.output_tokens), row.settled_at.isoformat())
        first_day = [piece async for piece in export(db, tenant.organisation_id, START, START)]
        assert len("".join(first_day).splitlines()) < len(rows)

    place.run(scenario)


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (date(2025, 3, 2), date(2025, 3, 1), "start"),
        (date(2024, 1, 1), date(2025, 3, 1), "start"),
        (None, date(1, 1, 1), "end"),
        (None, date.max, "end"),
        (date(1999, 1, 1), None, "start"),
    ],
)
def test_days_that_are_of_no_use_are_refused(start: Any, end: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        period(start, end)
    assert refused.value.field == field


def test_where_nothing_is_said_it_is_the_last_thirty_days() -> None:
    start, end = period(None, None)
    assert (end - start).days == 29
    assert period(date(2025, 1, 1), date(2026, 2, 4)) == (date(2025, 1, 1), date(2026, 2, 4))
