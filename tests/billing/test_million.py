"""A million requests make no page slow: what it shows is found by an index, or is a sum that is kept as they come."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.api.live import KEY, LiveServer, serve, write_tekken_model
from tests.api.talking import ask
from tests.billing.million import AMOUNT, DAYS, RARE, REQUESTS, bought_at, fill
from tests.billing.spending import buy
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.owners import first_owner
from tramontane.accounts.secrets import Secret
from tramontane.accounts.tables import ApiKey, Workspace
from tramontane.billing import budgets, limits, lot_views, statements, usage
from tramontane.billing.months import month_of
from tramontane.billing.usage import Filters
from tramontane.storage.base import new_id, now
from tramontane.storage.cursors import cursor_of
from tramontane.storage.database import Database

_SLOWEST = 0.2  # seconds
_LARGE = ("usage", "usage_days", "transfers", "postings", "lot_hours", "holds", "audit_entries")

# ── by its plan ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_page_reads_a_whole_table(tmp_path: Path) -> None:
    """SQLite tells how it will go about a query."""
    place = Place(None, tmp_path)

    async def scenario(db: Database) -> None:
        async with db.write() as session:
            tenant = await add_tenant(session, workspaces=2)
            await add_tenant(session, "Bora")
        lot = await buy(db, tenant, bought_at(), AMOUNT)
        await fill(db, tenant, lot.id, requests=1_000)
        for read in pages(tenant, lot.id):
            async with db.read() as session:
                asked = await statements_of(session, read)
                assert asked
                for statement, parameters in asked:
                    connection = await session.connection()
                    plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                    steps = [row[3] for row in plan]
                    whole = [step for step in steps if re.fullmatch(rf"SCAN ({'|'.join(_LARGE)})( .*)?", step)]
                    assert not whole, (statement, steps)

    place.run(scenario)


def pages(tenant: Tenant, lot_id: str) -> list[Callable[[AsyncSession], Coroutine[Any, Any, Any]]]:
    of, (start, end), middle = tenant.organisation_id, usage.period(None, None), cursor_of(now(), new_id())
    filters = [Filters(), Filters(model=RARE), Filters(key_id=tenant.key_ids[0]), Filters(key_id=""),
               Filters(workspace_id=tenant.workspace_ids[0])]  # fmt: skip
    return [
        *(
            lambda session, by=by, one=one: usage.report(session, of, start, end, by, one)  # type: ignore[misc]
            for by in ("model", "key", "workspace", "day")
            for one in filters
        ),
        *(
            lambda session, one=one, before=before: usage.list_requests(session, of, one, before, 50)  # type: ignore[misc]
            for one in filters
            for before in (None, middle)
        ),
        lambda session: lot_views.overview(session, of),
        lambda session: lot_views.lot_detail(session, of, lot_id),
        lambda session: lot_views.list_transfers(session, of, middle, 50),
        lambda session: statements.list_months(session, of),
        lambda session: statements.read_statement(session, of, month_of(now())),
        lambda session: budgets.list_budgets(session, of),
        lambda session: limits.list_limits(session, of),
    ]


async def statements_of(
    session: AsyncSession, read: Callable[[AsyncSession], Coroutine[Any, Any, Any]]
) -> list[tuple[str, Any]]:
    """What a page asks the database."""
    asked: list[tuple[str, Any]] = []
    connection = await session.connection()

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(connection.sync_connection, "before_cursor_execute", note)
    await read(session)
    event.remove(connection.sync_connection, "before_cursor_execute", note)
    return asked


# ── by the clock ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.heavy
@pytest.mark.timeout(1_800)
def test_a_million_requests_make_no_page_slow(place: Place, tmp_path: Path) -> None:
    async def prepare(db: Database) -> dict[str, str]:
        await prepare_accounts(db, Secret(KEY))
        async with db.write() as session:
            home = await session.get_one(Workspace, (await first_owner(session)).workspace_id)
            owner = await first_owner(session)
            tenant = await workspaces_of(session, home.organisation_id, owner.user_id)
        lot = await buy(db, tenant, bought_at(), AMOUNT)
        await fill(db, tenant, lot.id)
        async with db.write() as session:
            await session.execute(text("ANALYZE"))  # as PostgreSQL does by itself before long
        async with db.read() as session:
            count, middle = (await session.execute(text("SELECT count(*), max(id) FROM usage"))).one()
            assert count == REQUESTS
        return {"lot": lot.id, "key": tenant.key_ids[3], "workspace": tenant.workspace_ids[1], "id": middle}

    ids = place.run(prepare)
    model = write_tekken_model(tmp_path / "model", 13)
    env = {} if place.url is None else {"TRAMONTANE_DATABASE_URL": place.url}
    with serve(f"--model=small={model}", "--kv-memory=8MiB", home=place.home, env=env) as server:
        slow = [path for path in paths(ids) if seconds_of(server, path) > _SLOWEST]
        slow = [path for path in slow if seconds_of(server, path) > _SLOWEST]  # the machine may have been busy
    assert not slow


async def workspaces_of(session: AsyncSession, organisation_id: str, user_id: str) -> Tenant:
    """Five more workspaces with eight keys each."""
    places = [Workspace(organisation_id=organisation_id, name=f"workspace {number}") for number in range(5)]
    session.add_all(places)
    await session.flush()
    keys = [
        ApiKey(workspace_id=one.id, user_id=user_id, name=f"key {number}", prefix="tram_test", digest=new_id())
        for one in places
        for number in range(8)
    ]
    session.add_all(keys)
    await session.flush()
    return Tenant(organisation_id, user_id, tuple(one.id for one in places), tuple(key.id for key in keys))


def paths(ids: dict[str, str]) -> list[str]:
    today = now().date()
    first, month = usage.period(None, None)[0].replace(day=1), month_of(now())
    middle = cursor_of(now().replace(hour=0) - (now() - bought_at()) / 2, ids["id"])
    filters = (
        "",
        f"model={RARE}",
        "model=model 3",
        f"key_id={ids['key']}",
        "key_id=",
        f"workspace_id={ids['workspace']}",
    )
    reports = [f"/v1/usage?by={by}&{one}" for by in ("model", "key", "workspace", "day") for one in filters]
    long = [f"/v1/usage?by=key&start={today.replace(year=today.year - 1)}&end={today}", f"/v1/usage?start={first}"]
    requests = [f"/v1/usage/requests?{one}{page}" for one in filters for page in ("", f"&before={middle}")]
    money = ["", "/lots", f"/lots/{ids['lot']}", "/transfers", f"/transfers?before={middle}", "/statements", "/budgets"]
    bills = [f"/statements/{month}{ending}" for ending in ("", "/csv", "/pdf")]
    found = [*reports, *long, *requests, *(f"/v1/billing{one}" for one in (*money, *bills)), "/v1/limits"]
    assert DAYS > 31
    return [path.replace(" ", "%20").replace("?&", "?") for path in found]


def seconds_of(server: LiveServer, path: str) -> float:
    """The median of a few calls, after one that warms up."""
    ask(server, path)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        reply = ask(server, path)
        taken.append(time.perf_counter() - start)
        assert reply.status == 200, (path, reply.text)
    print(f"{statistics.median(taken) * 1000:7.1f} ms  {path}")  # with pytest -s
    return statistics.median(taken)
