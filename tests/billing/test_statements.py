"""Statements add up to the ledger to the last nano-euro, whatever happened and in which month."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pypdfium2
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.billing.spending import EURO, buy, hold, moment, settle, spend, upkeep
from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.accounts.tables import Organisation, Workspace
from tramontane.billing.lots import cancel_lot, set_pay_as_you_go
from tramontane.billing.months import beginning, following, month_of
from tramontane.billing.statement_pdf import statement_pdf
from tramontane.billing.statements import Line, LotLine, Statement, list_months, read_statement, statement_csv
from tramontane.billing.tables import RECEIVABLE, REVENUE, SHORTFALL, Lot, LotHour, Posting, Transfer, UsageRow
from tramontane.errors import MissingError, TramontaneError
from tramontane.storage.base import now
from tramontane.storage.database import Database

# ── any history ─────────────────────────────────────────────────────────────────────────────────────────────────────

HOURS = st.integers(0, 20 * 24)
STEPS = st.one_of(
    st.tuples(st.just("spend"), HOURS, st.integers(0, 1), st.sampled_from(["small", "large"]), st.integers(1, 9_999)),
    st.tuples(st.just("hold"), HOURS, st.integers(1, 9_999)),
    st.tuples(st.just("settle"), HOURS, st.integers(0, 9_999)),
    st.tuples(st.just("buy"), HOURS, st.integers(1, 10**8), st.integers(1, 60) | st.none()),
    st.tuples(st.just("cancel"), HOURS, st.integers(0, 5)),
    st.tuples(st.just("pay_as_you_go"), HOURS, st.integers(1, 10**8) | st.none()),
    st.tuples(st.just("upkeep"), HOURS),
)


# Each kind of lot is drawn on, over the ends of months (at the first moment of one, too) and of lots, of each kind.
EVERYTHING: list[tuple[Any, ...]] = [
    ("pay_as_you_go", 1, 10**8), ("buy", 1, 10**7, 20), *[("spend", 1, 0, "small", 9_999)] * 3, ("hold", 24, 9_999),
    ("upkeep", 480), ("spend", 211, 0, "small", 5), ("settle", 269, 5_000), ("spend", 10, 1, "large", 9_999),
    ("buy", 1, 10**6, 2), ("upkeep", 300),
    ("buy", 1, 10**6, 40), ("spend", 1, 0, "large", 100), ("pay_as_you_go", 1, 10**7), ("upkeep", 480),
    ("pay_as_you_go", 1, 3 * 10**7), ("hold", 1, 900), ("pay_as_you_go", 1, None), ("settle", 1, 1), ("upkeep", 1),
    ("buy", 1, 10**6, None), ("cancel", 1, 5),
]  # fmt: skip
PHASES = (Phase.explicit, Phase.generate)  # one that fails is short enough, and to shorten it would take minutes


@pytest.fixture
def run(place: Place) -> Iterator[tuple[Database, Callable[[Any], Any]]]:
    """A database, and what runs a coroutine with it: Hypothesis calls functions that are none."""
    with asyncio.Runner() as runner:
        db = place.open()
        runner.run(db.upgrade())
        yield db, runner.run
        runner.run(db.close())


def test_any_history_adds_up(run: tuple[Database, Callable[[Any], Any]]) -> None:
    db, do = run

    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
    @given(st.lists(STEPS, min_size=4, max_size=14))
    @example(EVERYTHING)
    def check(steps: list[tuple[Any, ...]]) -> None:
        do(check_history(db, steps))

    check()


async def check_history(db: Database, steps: list[tuple[Any, ...]]) -> None:
    async with db.write() as session:
        tenant = await add_tenant(session, workspaces=2)
        bystander = await add_tenant(session, "Bora")
    await buy(db, tenant, moment(1), EURO // 50)
    await buy(db, bystander, moment(1))
    await spend(db, bystander, moment(1))
    history = History(db, tenant)
    for name, hours, *arguments in steps:
        history.at += timedelta(hours=hours)
        await getattr(history, name)(*arguments)
    await check_statements(db, tenant, history.at)
    await check_hours(db)


class History:
    """What happens to one organisation; what the ledger refuses did not happen."""

    def __init__(self, db: Database, tenant: Tenant) -> None:
        self.db, self.tenant, self.at = db, tenant, moment(1, 2)
        self.holds: list[str] = []

    async def spend(self, workspace: int, model: str, output: int) -> None:
        held = await hold(self.db, self.tenant, self.at, workspace=workspace, model=model, most=output)
        if held is not None:
            await settle(self.db, held, self.at, output=output)

    async def hold(self, most: int) -> None:
        held = await hold(self.db, self.tenant, self.at, browser=True, most=most)
        self.holds += [held] if held is not None else []

    async def settle(self, output: int) -> None:
        if self.holds:
            await settle(self.db, self.holds.pop(0), self.at, output=output)

    async def buy(self, amount: int, days: int | None) -> None:
        await buy(self.db, self.tenant, self.at, amount, None if days is None else self.at + timedelta(days=days))

    async def cancel(self, which: int) -> None:
        async with self.db.read() as session:
            lots = (await session.scalars(select(Lot.id).where(_of(Lot, self.tenant)).order_by(Lot.id))).all()
        await self._try(lambda session: cancel_lot(session, lots[which % len(lots)], at=self.at))

    async def pay_as_you_go(self, cap: int | None) -> None:
        await self._try(lambda session: set_pay_as_you_go(session, self.tenant.organisation_id, cap, at=self.at))

    async def upkeep(self) -> None:
        await upkeep(self.db, self.at)

    async def _try(self, change: Callable[[Any], Any]) -> None:
        try:
            async with self.db.write() as session:
                await change(session)
        except TramontaneError:
            pass


def _of(table: Any, tenant: Tenant) -> Any:
    return table.organisation_id == tenant.organisation_id


async def check_statements(db: Database, tenant: Tenant, until: datetime) -> None:
    async with db.read() as session:
        months = await list_months(session, tenant.organisation_id)
        assert months == sorted(months, reverse=True)
        assert (months[-1], months[0]) == ("2025-01", month_of(now()))
        statements = [
            await read_statement(session, tenant.organisation_id, month)
            for month in months[::-1]
            if month <= following(month_of(until))
        ]
        closing: dict[str, int] = {}
        for statement in statements:
            await check_month(session, tenant, statement)
            assert {lot.lot_id: lot.opening for lot in statement.lots if lot.opening} == closing
            closing = {lot.lot_id: lot.closing for lot in statement.lots if lot.closing}
        lots = await session.scalars(select(Lot).where(_of(Lot, tenant)))
        assert closing == {lot.id: lot.balance for lot in lots if lot.balance}


async def check_month(session: Any, tenant: Tenant, statement: Statement) -> None:
    start, end = beginning(statement.month), beginning(following(statement.month))
    postings = (
        select(Posting.account, Transfer.kind, Posting.amount)
        .join(Transfer, Transfer.id == Posting.transfer_id)
        .where(_of(Transfer, tenant), Transfer.at >= start, Transfer.at < end)
    )
    rows = (await session.execute(postings)).all()
    assert sum(amount for _, _, amount in rows) == 0
    revenue = sum(amount for account, _, amount in rows if account == REVENUE)
    assert statement.charged == sum(line.amount for line in statement.lines) == revenue
    assert statement.shortfall == sum(amount for account, _, amount in rows if account == SHORTFALL)
    for lot in statement.lots:
        moved = {kind: -sum(a for account, k, a in rows if (account, k) == (lot.lot_id, kind)) for _, kind, _ in rows}
        assert lot.charged == moved.pop("charge", 0)
        assert lot.added == -moved.pop("top_up", 0)
        assert lot.expired == sum(moved.values())
        assert lot.closing == lot.opening + lot.added - lot.charged - lot.expired >= 0
    later = {lot.lot_id for lot in statement.lots if lot.kind in ("commitment", "pay_as_you_go")}
    on_account = -sum(amount for account, kind, amount in rows if kind == "charge" and account in later)
    assert statement.due == on_account + statement.shortfall
    used = await session.execute(
        select(UsageRow.workspace_id, UsageRow.model, func.count(), func.sum(UsageRow.output_tokens))
        .where(_of(UsageRow, tenant), UsageRow.settled_at >= start, UsageRow.settled_at < end)
        .group_by(UsageRow.workspace_id, UsageRow.model)
    )
    assert {(line.workspace_id, line.model): (line.requests, line.output_tokens) for line in statement.lines} == {
        (workspace, model): (requests, tokens) for workspace, model, requests, tokens in used
    }
    assert statement.is_final
    check_csv(statement)


def check_csv(statement: Statement) -> None:
    text = statement_csv(statement)
    tables = [list(csv.reader(io.StringIO(part))) for part in text.split("\r\n\r\n")]
    facts, lines, lots, sums = dict(tables[0]), tables[1][1:], tables[2][1:], dict(tables[3])
    assert facts["statement"] == f"{statement.month}-{statement.organisation_id[-8:]}"
    exact = {name: Decimal(amount) * EURO for name, amount in sums.items()}
    assert exact == {"charged": statement.charged, "shortfall": statement.shortfall, "due": statement.due}
    assert sum(Decimal(line[-1]) for line in lines) * EURO == statement.charged
    for opening, added, charged, expired, closing in (map(Decimal, lot[3:]) for lot in lots):
        assert opening + added - charged - expired == closing


async def check_hours(db: Database) -> None:
    """The sums that triggers keep are those of the postings."""
    async with db.read() as session:
        postings = await session.execute(
            select(Posting.account, Transfer.at, Transfer.kind, Posting.amount).join(
                Transfer, Transfer.id == Posting.transfer_id
            )
        )
        expected: dict[tuple[str, datetime, str], int] = {}
        for account, at, kind, amount in postings:
            if account not in (REVENUE, RECEIVABLE, SHORTFALL, "funding", "breakage", "promotion"):
                place = account, at.replace(minute=0, second=0, microsecond=0), kind
                expected[place] = expected.get(place, 0) + amount
        hours = await session.scalars(select(LotHour))
        assert {(one.lot_id, one.hour, one.kind): one.amount for one in hours} == expected


# ── what is refused, and what is not final ──────────────────────────────────────────────────────────────────────────


def test_a_month_without_a_statement_is_not_found(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            tenant = await add_tenant(session)
        async with db.read() as session:
            assert await list_months(session, tenant.organisation_id) == []
        await buy(db, tenant, moment(3))
        for month in ("2025-02", following(month_of(now())), "2025-13", "", "2025-1", "٢٠٢٥-03", "9999-12", "0000-01"):
            async with db.read() as session:
                with pytest.raises(MissingError):
                    await read_statement(session, tenant.organisation_id, month)
        async with db.read() as session:
            assert not (await read_statement(session, tenant.organisation_id, month_of(now()))).is_final
            last = (beginning(month_of(now())) - timedelta(days=1)).strftime("%Y-%m")
            assert (await read_statement(session, tenant.organisation_id, last)).is_final

    place.run(scenario)


# ── on paper, and in spreadsheets ───────────────────────────────────────────────────────────────────────────────────


def statement(num_lines: int = 1, **changes: Any) -> Statement:
    values: dict[str, Any] = {
        "organisation_id": "0" * 24 + "deadbeef",
        "organisation": "Meltemi",
        "month": "2026-11",
        "is_final": True,
        "lines": [
            Line("w" * 32, f"Workspace {number}", "mistral-small", 12, 3_456, 78, 910, 123_456_789 + number)
            for number in range(num_lines)
        ],
        "lots": [LotLine("l" * 32, "commitment", "Three years", 9 * 10**15, 0, 123_456_789, 400, 400)],
    }
    return Statement(**values | changes)


def text_of(file: bytes) -> list[str]:
    """Page by page."""
    with pypdfium2.PdfDocument(file) as document:
        return [page.get_textpage().get_text_range() for page in document]


def test_the_paper_has_all_that_is_owed() -> None:
    (page,) = text_of(statement_pdf(statement()))
    for text in (
        "Statement 2026-11-deadbeef", "Meltemi", "0" * 24 + "deadbeef", "Workspace 0", "mistral-small", "3,456",
        "0.123456789", "9000000.000000000", "8999999.876542811", "0.000000400", "0.123457189", "page 1 of 1",
    ):  # fmt: skip
        assert text in page
    assert "NOT FINAL" not in page


def test_each_page_of_an_unfinished_month_says_so() -> None:
    pages = text_of(statement_pdf(statement(150, is_final=False)))
    assert len(pages) > 3
    for number, page in enumerate(pages, start=1):
        assert "NOT FINAL" in page
        assert f"page {number} of {len(pages)}" in page
    assert all(f"Workspace {number}" in "".join(pages) for number in range(150))


def test_names_are_names_and_no_markup() -> None:
    names = ["**bold** __x__ <b>a</b>", "Łódź – “Œuvre” 10 €", "株式会社", "a\nb\x0c\u202ec", "", "{nb}"]
    lines = [Line("w" * 32, name, "m", 1, 1, 0, 1, 5) for name in names]
    (page,) = text_of(statement_pdf(statement(organisation="\x00株", lines=lines)))
    for shown in ("**bold** __x__ <b>a</b>", 'Lódz - "OEuvre" 10 EUR', "????", "a b ?c", "{nb}"):
        assert shown in page


def test_no_number_is_ever_cut() -> None:
    large = 9 * 10**18 - 1
    line = Line("w" * 32, "W" * 200, "m" * 200, large, large, large, large, large)
    lot = LotLine("l" * 32, "pay_as_you_go", "N" * 200, large, 0, 1, 0, 0)
    (page,) = text_of(statement_pdf(statement(lines=[line], lots=[lot])))
    assert page.count("8,999,999,999,999,999,999") == 4
    assert page.count("8999999999.999999999") == 3  # the line, what was open, and the sum
    assert "8999999999.999999998" in page


def test_no_cell_of_a_statement_is_a_formula() -> None:
    bad = statement(
        organisation="=HYPERLINK(1)",
        lines=[Line("w" * 32, "+1", "@x", 1, 1, 0, 1, 5)],
        lots=[LotLine("l" * 32, "credit", "\t=1", 1, 0, 0, 0, 0)],
    )
    cells = [cell for row in csv.reader(io.StringIO(statement_csv(bad))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t"))]
    assert {"'=HYPERLINK(1)", "'+1", "'@x", "'\t=1"} <= set(cells)


def test_a_renamed_workspace_stays_one_line(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            tenant = await add_tenant(session)
        await buy(db, tenant, moment(3))
        await spend(db, tenant, moment(3, 2))
        async with db.write() as session:
            (await session.get_one(Workspace, tenant.workspace_ids[0])).name = "Sales"
            (await session.get_one(Organisation, tenant.organisation_id)).name = "Etesians"
        await spend(db, tenant, moment(3, 3))
        async with db.read() as session:
            found = await read_statement(session, tenant.organisation_id, "2025-03")
        assert [(line.workspace_name, line.requests) for line in found.lines] == [("Sales", 2)]
        assert found.organisation == "Etesians"

    place.run(scenario)
