"""Lots and monthly counts as one transaction works with them: locked, changed in memory, written once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, literal, or_, select, update

from tramontane.billing.tables import (
    Hold,
    HoldPart,
    Lot,
    LotKind,
    MonthCount,
    Posting,
    Scope,
    Transfer,
    UsageDay,
    UsageRow,
)
from tramontane.billing.transfers import Row
from tramontane.storage.base import Base
from tramontane.storage.statements import UPSERTING, Prepared, among, pipelined, table_of

CountKey = tuple[Scope, str, str]
"""A scope, its id, and the month."""

_SCOPES: tuple[Scope, ...] = ("key", "organisation", "workspace")
_DRAWN: tuple[LotKind, ...] = ("commitment", "free", "credit", "pay_as_you_go")  # in this order
_NEVER = datetime.max.replace(tzinfo=UTC)


def drawing_place(kind: LotKind, ends_at: datetime | None, lot_id: str) -> tuple[int, datetime, str]:
    """By what lots are sorted to be drawn on: by kind, then what ends soonest."""
    return _DRAWN.index(kind), ends_at or _NEVER, lot_id


@dataclass(slots=True)
class LotLine:
    """What the ledger knows of a lot."""

    id: str
    organisation_id: str
    kind: LotKind
    balance: int
    held: int
    starts_at: datetime
    ends_at: datetime | None
    models: list[str] | None

    @property
    def free(self) -> int:
        """What is neither spent nor held."""
        return self.balance - self.held

    @property
    def place(self) -> tuple[int, datetime, str]:
        """In the order in which lots are drawn on."""
        return drawing_place(self.kind, self.ends_at, self.id)

    def pays(self, model: str, moment: datetime) -> bool:
        """Whether it may be drawn on for the model now."""
        in_time = self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)
        return in_time and (self.models is None or model in self.models)


@dataclass(slots=True)
class CountLine:
    """What a scope has used and reserved in a month."""

    tokens: int = 0
    tokens_reserved: int = 0
    spend: int = 0
    spend_held: int = 0


def count_keys(organisation_id: str, workspace_id: str, key_id: str | None, month: str) -> list[CountKey]:
    """The counts that a request adds to."""
    keys: list[CountKey] = [("organisation", organisation_id, month), ("workspace", workspace_id, month)]
    return keys if key_id is None else [("key", key_id, month), *keys]


class Books:
    """Locks are taken in one order, so that nobody waits in a circle: holds, lots, counts, days, each sorted."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.lots: dict[str, LotLine] = {}  # that were loaded
        # Of those, the active ones by organisation, in the order in which they are drawn on.
        self.active: dict[str, list[LotLine]] = defaultdict(list)
        self.counts: dict[CountKey, CountLine] = {}  # that were loaded
        self._changed_lots: set[str] = set()
        self._added: dict[CountKey, CountLine] = defaultdict(CountLine)
        self._days: dict[tuple[Any, ...], Row] = {}
        self._rows: dict[type[Base], list[Row]] = {table: [] for table in _INSERTS}

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def load_lots(self, ids: Collection[str], organisations: Collection[str]) -> None:
        """Locks the lots with these ids, and all that are active of these organisations. None may be loaded twice."""
        if not ids and not organisations:
            return
        wanted = {"ids": list(ids), "organisations": list(organisations)}
        for *columns, state in _LOTS.read(self._connection, wanted):
            lot = self.lots[columns[0]] = LotLine(*columns)
            if state == "active":
                self.active[lot.organisation_id].append(lot)
        for lots in self.active.values():
            lots.sort(key=lambda lot: lot.place)

    def load_counts(self, keys: Collection[CountKey]) -> None:
        """Locks counts, to be compared with caps; those that are missing are made.

        All that the transaction adds to are to be loaded, or none: adding locks them too, in the same order.
        """
        self._read_counts(keys)
        missing = sorted(set(keys) - self.counts.keys())
        if missing:
            _MAKE_COUNTS.write(self._connection, [_count_row(key, CountLine()) for key in missing])
            self._read_counts(missing)

    def _read_counts(self, keys: Collection[CountKey]) -> None:
        wanted = {"ids": sorted({key[1] for key in keys}), "months": sorted({key[2] for key in keys})}
        for scope, id_, month, *numbers in _COUNTS.read(self._connection, wanted):
            self.counts[scope, id_, month] = CountLine(*numbers)

    # ── changing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, table: type[Base], *rows: Row) -> None:
        """Rows to be written."""
        self._rows[table] += rows

    def change_lot(self, lot_id: str, *, balance: int = 0, held: int = 0) -> None:
        """By these amounts."""
        lot = self.lots[lot_id]
        lot.balance += balance
        lot.held += held
        self._changed_lots.add(lot_id)

    def change_counts(
        self, keys: Iterable[CountKey], *, tokens: int = 0, reserved: int = 0, spend: int = 0, held: int = 0
    ) -> None:
        """By these numbers."""
        for key in keys:
            lines = [self._added[key]]
            if key in self.counts:
                lines.append(self.counts[key])
            for line in lines:
                line.tokens += tokens
                line.tokens_reserved += reserved
                line.spend += spend
                line.spend_held += held

    def add_usage(self, usage: Row) -> None:
        """The row of a request, and the sums of its day."""
        self.add(UsageRow, usage)
        place = {
            "day": usage["settled_at"].astimezone(UTC).date(),
            "organisation_id": usage["organisation_id"],
            "workspace_id": usage["workspace_id"],
            "key_id": usage["key_id"] or "",
            "model": usage["model"],
            "offering_id": usage["offering_id"],
        }
        day = self._days.setdefault(tuple(place.values()), place | dict.fromkeys(_SUMS, 0))
        day["requests"] += 1
        for name in _SUMS[1:]:
            day[name] += usage[name]

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self) -> None:
        """All of it; to be called once."""
        connection = self._connection
        lots = [self.lots[lot_id] for lot_id in sorted(self._changed_lots)]
        with pipelined(connection):
            for table, rows in self._rows.items():
                _INSERTS[table].write(connection, rows)
            _CHANGE_LOT.write(connection, [{"of": lot.id, "balance": lot.balance, "held": lot.held} for lot in lots])
            _ADD_TO_COUNTS.write(connection, [_count_row(key, self._added[key]) for key in sorted(self._added)])
            _ADD_TO_DAYS.write(connection, [self._days[place] for place in sorted(self._days)])


def _count_row(key: CountKey, count: CountLine) -> Row:
    scope, id_, month = key
    return {
        "scope": scope,
        "scope_id": id_,
        "month": month,
        "tokens": count.tokens,
        "tokens_reserved": count.tokens_reserved,
        "spend": count.spend,
        "spend_held": count.spend_held,
    }


# ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────────

_SUMS = ("requests", "prompt_tokens", "cached_tokens", "output_tokens", "amount")
_COUNTED = ("tokens", "tokens_reserved", "spend", "spend_held")


def _select_lots(dialect: str) -> Any:
    lot = table_of(Lot).c
    of_organisations = and_(among(dialect, lot.organisation_id, "organisations"), lot.state == "active")
    return (
        select(lot.id, lot.organisation_id, lot.kind, lot.balance, lot.held, lot.starts_at, lot.ends_at, lot.models,
               lot.state)
        .where(or_(among(dialect, lot.id, "ids"), of_organisations))
        .order_by(lot.id)
        .with_for_update()
    )  # fmt: skip


def _select_counts(dialect: str) -> Any:
    count = table_of(MonthCount).c
    return (
        select(count.scope, count.scope_id, count.month, *(count[name] for name in _COUNTED))
        .where(
            count.scope.in_([literal(scope) for scope in _SCOPES]),  # so that the primary key's index is used
            among(dialect, count.scope_id, "ids"),
            among(dialect, count.month, "months"),
        )
        .order_by(count.scope, count.scope_id, count.month)
        .with_for_update()
    )


def _inserting(table: type[Base]) -> Prepared:
    columns = [column.name for column in table_of(table).columns if column.name != "number"]  # which counts by itself
    return Prepared(lambda _: insert(table_of(table)), columns)


def _adding(table: type[Base], names: Sequence[str]) -> Prepared:
    """Inserts a row, or adds its numbers to those of the row that is there."""

    def make(dialect: str) -> Any:
        statement = UPSERTING[dialect](table_of(table))
        columns = table_of(table).columns
        sums = {name: columns[name] + statement.excluded[name] for name in names}
        return statement.on_conflict_do_update(index_elements=table_of(table).primary_key.columns, set_=sums)

    return Prepared(make, table_of(table).columns.keys())


_LOTS, _COUNTS = Prepared(_select_lots), Prepared(_select_counts)
_CHANGE_LOT = Prepared(
    lambda _: update(table_of(Lot)).where(table_of(Lot).c.id == bindparam("of")), ("balance", "held")
)
_MAKE_COUNTS = Prepared(
    lambda dialect: UPSERTING[dialect](table_of(MonthCount)).on_conflict_do_nothing(),
    table_of(MonthCount).columns.keys(),
)
_ADD_TO_COUNTS, _ADD_TO_DAYS = _adding(MonthCount, _COUNTED), _adding(UsageDay, _SUMS)
_ADDED: tuple[type[Base], ...] = (Hold, HoldPart, UsageRow, Transfer, Posting)  # what others refer to comes first
_INSERTS = {table: _inserting(table) for table in _ADDED}
