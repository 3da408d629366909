"""What there is to spend, how it falls, and how money moved: lots and transfers as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.tables import Organisation
from tramontane.billing.books import drawing_place
from tramontane.billing.month_lots import month_lot_id
from tramontane.billing.months import month_of
from tramontane.billing.tables import Lot, LotHour, MonthCount, PayAsYouGo, Posting, Transfer
from tramontane.errors import MissingError
from tramontane.storage.base import now
from tramontane.storage.cursors import comes_after, cursor_of

_MOST_POINTS = 200
_PACE_DAYS = 7
_MOST_DAYS = 36_500  # of a forecast
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Overview:
    """What there is to spend. `lots` are those that may be drawn on now."""

    available: int
    held: int
    month_spend: int
    pay_as_you_go_cap: int | None
    pay_as_you_go_spend: int
    lots: list[Lot]


@dataclass(frozen=True)
class Point:
    """A lot's balance at a moment."""

    at: datetime
    balance: int


@dataclass(frozen=True)
class Detail:
    """A lot's draw-down. `pace` is a day's, None where nothing was charged lately."""

    lot: Lot
    curve: list[Point]
    pace: int | None
    runs_out_at: datetime | None


# ── lots ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def overview(session: AsyncSession, organisation_id: str) -> Overview:
    """Of the organisation."""
    at, month = now(), month_of(now())
    lots = [lot for lot in await list_lots(session, organisation_id) if _is_open(lot, at)]
    count = await session.get(MonthCount, ("organisation", organisation_id, month))
    later = await session.get(PayAsYouGo, organisation_id)
    month_lot = await session.get(Lot, month_lot_id("pay_as_you_go", organisation_id, month))
    return Overview(
        available=sum(lot.balance - lot.held for lot in lots),
        held=sum(lot.held for lot in lots),
        month_spend=0 if count is None else count.spend,
        pay_as_you_go_cap=None if later is None else later.monthly_cap,
        pay_as_you_go_spend=0 if month_lot is None else month_lot.amount - month_lot.balance,
        lots=lots,
    )


async def list_lots(session: AsyncSession, organisation_id: str) -> list[Lot]:
    """All of the organisation: first in the order in which they are drawn on, then those that have ended."""
    lots = await session.scalars(select(Lot).where(Lot.organisation_id == organisation_id))
    return sorted(lots, key=_place)


async def lot_detail(session: AsyncSession, organisation_id: str, lot_id: str) -> Detail:
    """Raises MissingError."""
    lot = await session.scalar(select(Lot).where(Lot.id == lot_id, Lot.organisation_id == organisation_id))
    if lot is None:
        raise MissingError("There is no such lot.")
    pace = await _pace(session, lot)
    return Detail(lot, await _curve(session, lot), pace, _runs_out_at(lot, pace))


async def lock_monthly_cap(session: AsyncSession, organisation_id: str) -> int | None:
    """The cap of pay-as-you-go, which nobody changes until the transaction ends; raises MissingError.

    It is the organisation that is locked: the ledger locks lots before caps, so a cap must not be locked alone.
    """
    if await session.get(Organisation, organisation_id) is None:
        raise MissingError("There is no such organisation.")
    await lock_organisation(session, organisation_id)
    return await session.scalar(select(PayAsYouGo.monthly_cap).where(PayAsYouGo.organisation_id == organisation_id))


def _place(lot: Lot) -> tuple[bool, tuple[int, datetime, str]]:
    return lot.state != "active", drawing_place(lot.kind, lot.ends_at, lot.id)


def _is_open(lot: Lot, at: datetime) -> bool:
    return lot.state == "active" and lot.starts_at <= at and (lot.ends_at is None or at < lot.ends_at)


async def _curve(session: AsyncSession, lot: Lot) -> list[Point]:
    """After each movement where there are few, else after each hour, thinned; the last point is of now."""
    changes = await _movements(session, lot)
    if len(changes) >= _MOST_POINTS:
        changes = await _hours(session, lot)
    balance, curve = 0, []
    for at, amount in changes:
        balance += amount
        curve.append(Point(at, balance))
    step = max(1, -(-len(curve) // (_MOST_POINTS - 1)))
    return [*curve[::step], Point(now(), lot.balance)]


async def _movements(session: AsyncSession, lot: Lot) -> list[tuple[datetime, int]]:
    """As many as a curve has room for, so that this is quick however many there are."""
    found = await session.execute(
        select(Transfer.at, Posting.amount)
        .join(Transfer, Transfer.id == Posting.transfer_id)
        .where(Posting.account == lot.id)
        .order_by(Posting.number)
        .limit(_MOST_POINTS)
    )
    return [(at, amount) for at, amount in found]


async def _hours(session: AsyncSession, lot: Lot) -> list[tuple[datetime, int]]:
    """What was added counts from the beginning of its hour, all else from its end."""
    found = await session.execute(
        select(LotHour.hour, LotHour.kind, LotHour.amount).where(LotHour.lot_id == lot.id).order_by(LotHour.hour)
    )
    at = now()
    changes = [
        (max(hour, lot.created_at) if kind == "top_up" else min(hour + _HOUR, at), amount)
        for hour, kind, amount in found
    ]
    return sorted(changes)


async def _pace(session: AsyncSession, lot: Lot) -> int | None:
    """Over the last seven days, or the lot's days where it is younger; at least one."""
    at = now()
    days = min(_PACE_DAYS, max((at - max(lot.created_at, lot.starts_at)) / _DAY, 1.0))
    charged = await session.scalar(
        select(func.sum(LotHour.amount))
        .where(LotHour.lot_id == lot.id, LotHour.kind == "charge")
        .where(LotHour.hour >= at - _PACE_DAYS * _DAY)
    )
    return None if not charged else int(-int(charged) / days)  # PostgreSQL's sums are no integers


def _runs_out_at(lot: Lot, pace: int | None) -> datetime | None:
    """At this pace; None where that is not before its end."""
    if not pace or lot.state != "active":
        return None
    days = lot.balance / pace
    if days > _MOST_DAYS:
        return None
    runs_out = now() + days * _DAY
    return runs_out if lot.ends_at is None or runs_out < lot.ends_at else None


# ── transfers ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def list_transfers(
    session: AsyncSession, organisation_id: str, before: str | None, limit: int
) -> tuple[list[tuple[Transfer, list[Posting]]], str | None]:
    """A page, the newest first, and the cursor of the next; raises InvalidRequestError."""
    listed = select(Transfer).where(Transfer.organisation_id == organisation_id)
    if before is not None:
        listed = listed.where(comes_after(before, Transfer.at, Transfer.id))
    found = await session.scalars(listed.order_by(Transfer.at.desc(), Transfer.id.desc()).limit(limit + 1))
    transfers = found.all()
    page = transfers[:limit]
    postings = await _postings(session, page)
    last = page[-1] if len(transfers) > limit else None
    return [(one, postings[one.id]) for one in page], None if last is None else cursor_of(last.at, last.id)


async def _postings(session: AsyncSession, transfers: Sequence[Transfer]) -> dict[str, list[Posting]]:
    found: dict[str, list[Posting]] = {transfer.id: [] for transfer in transfers}
    for posting in await session.scalars(
        select(Posting).where(Posting.transfer_id.in_(list(found))).order_by(Posting.number)
    ):
        found[posting.transfer_id].append(posting)
    return found
