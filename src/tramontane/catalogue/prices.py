"""Dated prices: each offering has one at a time, and none that was in force is ever changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.catalogue.moments import moment_of, not_before
from tramontane.catalogue.tables import OfferingRow, PriceRow
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.storage.base import now

CURRENCY = "EUR"

_MOST = 9 * 10**15  # nano-euros: a BIGINT holds what a million of such tokens cost


@dataclass(frozen=True, slots=True)
class Price:
    """Integer nano-euros for a million tokens; `id` is that of its row."""

    id: str
    input: int
    cached_input: int
    output: int


@dataclass(frozen=True, slots=True)
class PriceDraft:
    """A price to be. `cached_input` None: as `input`; `valid_from` None: now; `valid_until` None: until the next."""

    input: int
    output: int
    cached_input: int | None = None
    currency: str = CURRENCY
    batch_percent: int = 50
    valid_from: datetime | None = None
    valid_until: datetime | None = None


FREE = PriceDraft(input=0, output=0)
"""What nothing is asked for."""


async def list_prices(session: AsyncSession, offering_id: str) -> Sequence[PriceRow]:
    """Past, present and to come, in this order; raises MissingError."""
    if await session.get(OfferingRow, offering_id) is None:
        raise MissingError("There is no such offering.")
    query = select(PriceRow).where(PriceRow.offering_id == offering_id).order_by(PriceRow.valid_from)
    return (await session.scalars(query)).all()


async def set_price(session: AsyncSession, offering_id: str, draft: PriceDraft) -> PriceRow:
    """The price from `valid_from` on. It ends the one before it, and where another follows it lasts until then.

    Raises InvalidRequestError with the field that is wrong, ConflictError where times would overlap, MissingError.
    """
    cached_input = _check(draft)
    await _lock(session, offering_id)
    present = now()
    start = present if draft.valid_from is None else not_before("valid_from", draft.valid_from, present)
    end = None if draft.valid_until is None else moment_of("valid_until", draft.valid_until)
    if end is not None and end <= start:
        raise InvalidRequestError("valid_until", "valid_until is not after valid_from: a price has to last a while.")
    others = await list_prices(session, offering_id)
    following = next((price for price in others if price.valid_from >= start), None)
    if following is not None:
        end = _end_before(following, start, end)
    for price in others:
        if price.valid_from < start and (price.valid_until is None or price.valid_until > start):
            price.valid_until = start
    made = PriceRow(
        offering_id=offering_id,
        currency=draft.currency,
        input=draft.input,
        cached_input=cached_input,
        output=draft.output,
        batch_percent=draft.batch_percent,
        valid_from=start,
        valid_until=end,
    )
    session.add(made)
    await session.flush()
    return made


async def delete_price(session: AsyncSession, price_id: str) -> PriceRow:
    """Takes back a price that has not begun; the one that it would have ended goes on in its place.

    Raises MissingError, and ConflictError for one that was or is in force.
    """
    found = await session.get(PriceRow, price_id)
    if found is None:
        raise MissingError("There is no such price.")
    await _lock(session, found.offering_id)
    await session.refresh(found)
    if found.valid_from <= now():
        raise ConflictError("This price has begun, and stays in the records: set another one from now on.")
    before = await session.scalar(
        select(PriceRow).where(PriceRow.offering_id == found.offering_id, PriceRow.valid_until == found.valid_from)
    )
    await session.delete(found)
    await session.flush()
    if before is not None:
        before.valid_until = found.valid_until
    return found


async def is_priced(session: AsyncSession, offering_id: str) -> bool:
    """Whether a price is in force now."""
    return offering_id in await present_prices(session, [offering_id])


async def present_prices(session: AsyncSession, offering_ids: Iterable[str]) -> dict[str, PriceRow]:
    """The price that each offering has now, by the offering's id."""
    moment = now()
    ends = or_(PriceRow.valid_until.is_(None), PriceRow.valid_until > moment)
    query = select(PriceRow).where(PriceRow.offering_id.in_(offering_ids), PriceRow.valid_from <= moment, ends)
    return {row.offering_id: row for row in await session.scalars(query)}


async def make_free_where_unpriced(session: AsyncSession, offering_id: str) -> bool:
    """Sets a price of nothing where an offering never had any; whether it did."""
    if await list_prices(session, offering_id):
        return False
    await set_price(session, offering_id, FREE)
    return True


async def _lock(session: AsyncSession, offering_id: str) -> None:
    """Until the transaction ends nobody else changes prices of the offering; raises MissingError."""
    # SQLite knows no FOR UPDATE and needs none: there only one transaction writes at a time.
    query = select(OfferingRow.id).where(OfferingRow.id == offering_id).with_for_update()
    if await session.scalar(query) is None:
        raise MissingError("There is no such offering.")


def _check(draft: PriceDraft) -> int:
    """The price of cached input."""
    if draft.currency != CURRENCY:
        raise InvalidRequestError("currency", f"Prices are in {CURRENCY}; the currency {draft.currency!r} is not used.")
    cached_input = draft.input if draft.cached_input is None else draft.cached_input
    for field, amount in (("input", draft.input), ("cached_input", cached_input), ("output", draft.output)):
        if not 0 <= amount <= _MOST:
            raise InvalidRequestError(field, f"{field} has to be from 0 to {_MOST:,} nano-euros for a million tokens.")
    if cached_input > draft.input:
        raise InvalidRequestError("cached_input", "cached_input is dearer than input: it may cost as much at most.")
    if not 1 <= draft.batch_percent <= 100:
        raise InvalidRequestError("batch_percent", "batch_percent has to be from 1 to 100.")
    return cached_input


def _end_before(following: PriceRow, start: datetime, end: datetime | None) -> datetime:
    begins = following.valid_from.isoformat(timespec="seconds")
    if following.valid_from == start:
        raise ConflictError(f"Another price begins at that moment, {begins}: choose another one, or delete that first.")
    if end is not None and end > following.valid_from:
        raise ConflictError(
            f"It would overlap with the price from {begins} on: leave out valid_until, end it by then, or delete that."
        )
    return end or following.valid_from
