"""The lots that come with each month: what may be paid later, and free quotas.

Their ids are made of what they are for, so that of several processes at the turn of a month only one makes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from tramontane.accounts.tables import Setting
from tramontane.billing.months import beginning, following, month_of
from tramontane.billing.tables import Lot, PayAsYouGo
from tramontane.billing.transfers import SOURCE, move
from tramontane.storage.statements import table_of, upserting

MonthKind = Literal["pay_as_you_go", "free"]

FREE_MONTHLY = "free_monthly_nano_euros"
"""The installation's setting: what an organisation with a free quota may spend in a month."""

_NAMES: dict[MonthKind, str] = {"pay_as_you_go": "Pay as you go", "free": "Free quota"}
_LOT = table_of(Lot).c


def month_lot_id(kind: MonthKind, organisation_id: str, month: str) -> str:
    """32 hex digits that begin with the month's time, as ids do."""
    digest = hashlib.sha256(f"{kind} {organisation_id} {month}".encode()).hexdigest()
    return f"{int(beginning(month).timestamp() * 1000):012x}{digest[:20]}"


def make_month_lot(connection: Connection, kind: MonthKind, organisation_id: str, amount: int, at: datetime) -> bool:
    """Makes the lot of the month of `at`; False where it is there already."""
    month = month_of(at)
    made = connection.execute(
        upserting(connection)(table_of(Lot)).on_conflict_do_nothing().returning(_LOT.id),
        {
            "id": month_lot_id(kind, organisation_id, month),
            "organisation_id": organisation_id,
            "kind": kind,
            "name": f"{_NAMES[kind]} {month}",
            "amount": amount,
            "balance": amount,
            "held": 0,
            "starts_at": beginning(month),
            "ends_at": beginning(following(month)),
            "models": None,
            "state": "active",
            "created_at": at,
        },
    ).first()
    if made is None:
        return False
    move(connection, organisation_id, "top_up", at, SOURCE[kind], made.id, amount)
    return True


def open_month_lots(connection: Connection, at: datetime, organisations: Collection[str] | None = None) -> list[str]:
    """Makes what is missing of the month's lots, of these organisations or (None) of all; the ids of those made."""
    made = []
    for kind, organisation_id, amount in [*_later(connection, organisations), *_free(connection, organisations)]:
        if make_month_lot(connection, kind, organisation_id, amount, at):
            made.append(month_lot_id(kind, organisation_id, month_of(at)))
    return made


def _later(connection: Connection, organisations: Collection[str] | None) -> Iterator[tuple[MonthKind, str, int]]:
    # FOR UPDATE: whoever ends it at this moment is waited for, or waits and then finds the lot.
    query = select(PayAsYouGo.organisation_id, PayAsYouGo.monthly_cap).with_for_update()
    if organisations is not None:
        query = query.where(PayAsYouGo.organisation_id.in_(organisations))
    for organisation_id, cap in connection.execute(query.order_by(PayAsYouGo.organisation_id)):
        yield "pay_as_you_go", organisation_id, cap


def _free(connection: Connection, organisations: Collection[str] | None) -> Iterator[tuple[MonthKind, str, int]]:
    """Who had a free quota has it again, unless the last one was cancelled."""
    amount = connection.scalar(select(Setting.value).where(Setting.name == FREE_MONTHLY)) or 0
    if amount <= 0:
        return
    query = select(_LOT.organisation_id, _LOT.state).where(_LOT.kind == "free")
    if organisations is not None:
        query = query.where(_LOT.organisation_id.in_(organisations))
    newest = {organisation: state for organisation, state in connection.execute(query.order_by(_LOT.starts_at))}
    for organisation_id in sorted(newest):
        if newest[organisation_id] != "cancelled":
            yield "free", organisation_id, amount
