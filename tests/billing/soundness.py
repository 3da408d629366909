"""What has to be true of the ledger at every moment, whatever has happened to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from tramontane.billing.books import count_keys
from tramontane.billing.months import month_of
from tramontane.billing.tables import (
    REVENUE,
    Hold,
    HoldPart,
    Lot,
    MonthCount,
    Posting,
    Transfer,
    UsageDay,
    UsageRow,
)
from tramontane.storage.database import Database
from tramontane.storage.statements import table_of


async def assert_sound(db: Database) -> None:
    """Of a whole database."""
    await db.transact(assert_books_are_sound)


def assert_books_are_sound(connection: Connection) -> None:
    lots, transfers, postings, holds, parts, usage = (
        connection.execute(select(table_of(table))).all()
        for table in (Lot, Transfer, Posting, Hold, HoldPart, UsageRow)
    )
    assert not any(_sums((posting.transfer_id, posting.amount) for posting in postings).values()), "zero sum"
    of_accounts = _sums((posting.account, posting.amount) for posting in postings)
    in_parts = _sums((part.lot_id, part.amount) for part in parts)
    for lot in lots:
        assert lot.balance == of_accounts[lot.id] >= 0
        assert lot.held == in_parts[lot.id] <= lot.balance
    in_holds = _sums((part.hold_id, part.amount) for part in parts)
    assert {hold.id: hold.amount for hold in holds if hold.amount} == dict(in_holds)

    # A request is charged once, by as much as its lots give and the house gets.
    charges = {transfer.id: transfer.usage_id for transfer in transfers if transfer.kind == "charge"}
    assert len(set(charges.values())) == len(charges)
    lot_ids = {lot.id for lot in lots}
    given = _sums(
        (charges[p.transfer_id], -p.amount) for p in postings if p.transfer_id in charges and p.account in lot_ids
    )
    got = _sums((charges[p.transfer_id], p.amount) for p in postings if p.account == REVENUE)
    assert {row.id: row.amount for row in usage if row.amount} == dict(given) == dict(got)
    assert not {hold.id for hold in holds} & {row.id for row in usage}
    _assert_sums_are_right(connection)


def _assert_sums_are_right(connection: Connection) -> None:
    """Of days and of months: what pages show and caps go by."""
    holds, usage, days, months = (
        connection.execute(select(table_of(table))).all() for table in (Hold, UsageRow, UsageDay, MonthCount)
    )
    by_day: Counter[tuple[object, ...]] = Counter()
    tokens: Counter[tuple[str, ...]] = Counter()
    spend: Counter[tuple[str, ...]] = Counter()
    for row in usage:
        place = (
            row.settled_at.date(),
            row.organisation_id,
            row.workspace_id,
            row.key_id or "",
            row.model,
            row.offering_id,
        )
        numbers = (1, row.prompt_tokens, row.cached_tokens, row.output_tokens, row.amount)
        by_day.update({(*place, position): number for position, number in enumerate(numbers)})
        for key in count_keys(row.organisation_id, row.workspace_id, row.key_id, month_of(row.started_at)):
            tokens[key] += row.prompt_tokens + row.output_tokens
            spend[key] += row.amount
    told: Counter[tuple[object, ...]] = Counter()
    for day in days:
        place = (day.day, day.organisation_id, day.workspace_id, day.key_id, day.model, day.offering_id)
        numbers = (day.requests, day.prompt_tokens, day.cached_tokens, day.output_tokens, day.amount)
        told.update({(*place, position): number for position, number in enumerate(numbers)})
    assert +told == +by_day
    reserved: Counter[tuple[str, ...]] = Counter()
    held: Counter[tuple[str, ...]] = Counter()
    for hold in holds:
        for key in count_keys(hold.organisation_id, hold.workspace_id, hold.key_id, hold.month):
            reserved[key] += hold.tokens
            held[key] += hold.amount
    for name, expected in (("tokens", tokens), ("spend", spend), ("tokens_reserved", reserved), ("spend_held", held)):
        found = Counter({(row.scope, row.scope_id, row.month): getattr(row, name) for row in months})
        assert +found == +expected, name


def _sums(amounts: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    sums: Counter[str] = Counter()
    for of, amount in amounts:
        sums[of] += amount
    return sums
