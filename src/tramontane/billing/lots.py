"""Lots are bought, cancelled, and ended; what is spent of them is the ledger's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Row, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import Organisation
from tramontane.billing.month_lots import make_month_lot, month_lot_id
from tramontane.billing.months import month_of
from tramontane.billing.pricing import in_euros
from tramontane.billing.tables import Lot, LotState, PayAsYouGo, TransferKind
from tramontane.billing.transfers import END, SOURCE, move
from tramontane.catalogue.moments import moment_of
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.storage.base import now
from tramontane.storage.statements import table_of, upserting

T = TypeVar("T")

MOST = 9 * 10**15
"""Nano-euros that a lot may be of: nine million euros. Sums of hundreds of them fit into a database's integers."""

LotRow = Row[*tuple[Any, ...]]

_LOT, _PAY = table_of(Lot), table_of(PayAsYouGo)
_LOCKED = select(_LOT).order_by(_LOT.c.id).with_for_update()


async def create_lot(
    session: AsyncSession,
    *,
    organisation_id: str,
    kind: Literal["credit", "commitment"],
    name: str,
    amount: int,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    models: Sequence[str] | None = None,
    created_by: str | None = None,
    at: datetime | None = None,
) -> Lot:
    """Prepaid credit, or a commitment; `starts_at` None: now, `models` None: it pays for all.

    Raises InvalidRequestError with the field that is wrong, and MissingError where there is no such organisation.
    """
    at = at or now()
    starts_at = at if starts_at is None else moment_of("starts_at", starts_at)
    ends_at = None if ends_at is None else moment_of("ends_at", ends_at)
    _check(kind, amount, starts_at, ends_at, models, at)
    if await session.get(Organisation, organisation_id) is None:
        raise MissingError("There is no such organisation.")
    lot = Lot(
        organisation_id=organisation_id,
        kind=kind,
        name=name,
        amount=amount,
        balance=amount,
        held=0,
        starts_at=starts_at,
        ends_at=ends_at,
        models=None if models is None else list(models),
        state="active",
        created_at=at,
        created_by=created_by,
    )
    session.add(lot)
    await session.flush()
    await _with_connection(
        session, lambda connection: move(connection, organisation_id, "top_up", at, SOURCE[kind], lot.id, amount)
    )
    return lot


async def cancel_lot(session: AsyncSession, lot_id: str, *, at: datetime | None = None) -> Lot:
    """Ends a lot: what is neither spent nor held goes back to where it came from at once, and what is held for
    requests that run, if they do not spend it, soon after they have ended.

    Raises MissingError, and ConflictError for a lot that has ended or goes with the month.
    """
    await _with_connection(session, lambda connection: _cancel(connection, lot_id, at or now()))
    lot = await session.get(Lot, lot_id, populate_existing=True)
    assert lot is not None, "it is locked"
    return lot


async def set_pay_as_you_go(
    session: AsyncSession, organisation_id: str, monthly_cap: int | None, *, at: datetime | None = None
) -> None:
    """Lets an organisation spend beyond its lots, up to a cap each month, this one included; None ends it.

    Raises InvalidRequestError where this month has already taken more than the new cap.
    """
    if monthly_cap is not None and not 0 < monthly_cap <= MOST:
        raise InvalidRequestError("monthly_cap", f"monthly_cap has to be from 1 to {MOST:,} nano-euros.")
    await _with_connection(
        session, lambda connection: _set_pay_as_you_go(connection, organisation_id, monthly_cap, at or now())
    )


async def grant_free(session: AsyncSession, organisation_id: str, amount: int, *, at: datetime | None = None) -> None:
    """Gives an organisation this month's free quota, once.

    From then on it has one each month, of what the installation's setting says then, until one of them is cancelled.
    """
    if amount > 0:
        await _with_connection(
            session, lambda connection: make_month_lot(connection, "free", organisation_id, amount, at or now())
        )


def end_lots(connection: Connection, at: datetime) -> int:
    """Ends the lots whose time is over or that are spent, and gives back what cancelled ones held; how many.

    A lot of which something is held waits: those requests may still spend it. Nobody draws on it any more.
    """
    over = _LOT.c.ends_at <= at
    spent = and_(_LOT.c.balance == 0, _LOT.c.kind != "pay_as_you_go")  # a month's cap may be raised
    finished = and_(_LOT.c.state == "active", _LOT.c.held == 0, or_(over, spent))
    came_back = and_(_LOT.c.state == "cancelled", _LOT.c.balance > _LOT.c.held)
    ended = connection.execute(_LOCKED.where(or_(finished, came_back))).all()
    for lot in ended:
        if lot.state == "cancelled":
            _give_back(connection, lot, "cancellation", lot.balance - lot.held, at)
        else:
            kind, account = END[lot.kind]
            move(connection, lot.organisation_id, kind, at, lot.id, account, lot.balance)
            _change(connection, lot.id, balance=0, state="expired" if lot.balance else "completed")
    return len(ended)


# ── on a connection ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _with_connection(session: AsyncSession, function: Callable[[Connection], T]) -> T:
    return await session.run_sync(lambda plain: function(plain.connection()))


def _cancel(connection: Connection, lot_id: str, at: datetime) -> None:
    lot = connection.execute(_LOCKED.where(_LOT.c.id == lot_id)).first()
    if lot is None:
        raise MissingError("There is no such lot.")
    if lot.state != "active":
        raise ConflictError(f"This lot is {lot.state} already.")
    if lot.kind == "pay_as_you_go":
        raise ConflictError("What is paid later is not cancelled as a lot: end pay-as-you-go instead.")
    _change(connection, lot.id, state="cancelled")
    _give_back(connection, lot, "cancellation", lot.balance - lot.held, at)


def _set_pay_as_you_go(connection: Connection, organisation_id: str, cap: int | None, at: datetime) -> None:
    month_lot = _LOCKED.where(_LOT.c.id == month_lot_id("pay_as_you_go", organisation_id, month_of(at)))
    connection.execute(month_lot)  # lots are locked before all else; one that comes up meanwhile is found below
    if cap is None:
        connection.execute(delete(_PAY).where(_PAY.c.organisation_id == organisation_id))
        lot = connection.execute(month_lot).first()
        if lot is not None and lot.state == "active":
            _change(connection, lot.id, state="cancelled")
            _give_back(connection, lot, "return", lot.balance - lot.held, at)
        return
    upsert = upserting(connection)(_PAY).on_conflict_do_update(
        index_elements=[_PAY.c.organisation_id], set_={"monthly_cap": cap}
    )
    connection.execute(upsert, {"organisation_id": organisation_id, "monthly_cap": cap})
    if not make_month_lot(connection, "pay_as_you_go", organisation_id, cap, at):
        _adjust(connection, connection.execute(month_lot).one(), cap, at)


def _adjust(connection: Connection, lot: LotRow, cap: int, at: datetime) -> None:
    """Gives a month's lot another cap. Its amount less its balance is always what was spent of it."""
    taken = lot.amount - (lot.balance - lot.held)
    if cap < taken:
        raise InvalidRequestError(
            "monthly_cap",
            f"This month {in_euros(taken)} are spent already or held for requests that run: "
            "set a cap that is not below that, or end pay-as-you-go.",
        )
    if cap < lot.amount:
        _give_back(connection, lot, "return", lot.amount - cap, at)
    elif cap > lot.amount:
        more = cap - lot.amount
        move(connection, lot.organisation_id, "top_up", at, SOURCE[lot.kind], lot.id, more)
        _change(connection, lot.id, amount=cap, balance=lot.balance + more)
    _change(connection, lot.id, state="active")


def _give_back(connection: Connection, lot: LotRow, kind: TransferKind, amount: int, at: datetime) -> None:
    move(connection, lot.organisation_id, kind, at, lot.id, SOURCE[lot.kind], amount)
    _change(connection, lot.id, balance=lot.balance - amount)
    if lot.kind == "pay_as_you_go":
        _change(connection, lot.id, amount=lot.amount - amount)


def _change(connection: Connection, lot_id: str, **values: int | LotState) -> None:
    connection.execute(update(_LOT).where(_LOT.c.id == lot_id).values(values))


def _check(
    kind: str, amount: int, starts_at: datetime, ends_at: datetime | None, models: Sequence[str] | None, at: datetime
) -> None:
    if kind not in ("credit", "commitment"):
        raise InvalidRequestError("kind", f"A lot of the kind {kind!r} cannot be bought: choose credit or commitment.")
    if not 0 < amount <= MOST:
        raise InvalidRequestError("amount", f"amount has to be from 1 to {MOST:,} nano-euros.")
    if kind == "commitment" and ends_at is None:
        raise InvalidRequestError("ends_at", "A commitment has an end: set ends_at.")
    if ends_at is not None and ends_at <= max(starts_at, at):
        raise InvalidRequestError("ends_at", "ends_at has to be in the future, and after starts_at.")
    if models is not None and not models:
        raise InvalidRequestError("models", "A lot has to pay for a model at least: name some, or leave models out.")
