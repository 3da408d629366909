"""Double entry: money moves by transfers, whose postings sum to zero. They are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from tramontane.billing.tables import (
    BREAKAGE,
    FUNDING,
    PROMOTION,
    RECEIVABLE,
    SHORTFALL,
    LotKind,
    Posting,
    Transfer,
    TransferKind,
)
from tramontane.storage.base import new_id
from tramontane.storage.statements import table_of

Row = dict[str, Any]

SOURCE: Mapping[LotKind, str] = {
    "credit": FUNDING,
    "commitment": RECEIVABLE,
    "pay_as_you_go": RECEIVABLE,
    "free": PROMOTION,
}
"""Whence a lot's money comes, and where it goes back to when the lot is cancelled."""

END: Mapping[LotKind, tuple[TransferKind, str]] = {
    "credit": ("expiry", BREAKAGE),
    "commitment": ("shortfall", SHORTFALL),
    "pay_as_you_go": ("return", RECEIVABLE),
    "free": ("return", PROMOTION),
}
"""What becomes of the rest of a lot at its end."""


def entry(
    organisation_id: str, kind: TransferKind, at: datetime, amounts: Mapping[str, int], usage_id: str | None = None
) -> tuple[Row, list[Row]]:
    """The rows of a transfer that adds each amount to its account."""
    if sum(amounts.values()) != 0:
        raise AssertionError(f"a transfer of the kind {kind} does not sum to zero")
    transfer = {"id": new_id(), "organisation_id": organisation_id, "kind": kind, "usage_id": usage_id, "at": at}
    postings = [
        {"transfer_id": transfer["id"], "account": account, "amount": amount} for account, amount in amounts.items()
    ]
    return transfer, postings


def move(
    connection: Connection, organisation_id: str, kind: TransferKind, at: datetime, giver: str, taker: str, amount: int
) -> None:
    """Writes the transfer of `amount` from one account to another; nothing where it is 0."""
    if amount == 0:
        return
    transfer, postings = entry(organisation_id, kind, at, {giver: -amount, taker: amount})
    connection.execute(insert(table_of(Transfer)), [transfer])
    connection.execute(insert(table_of(Posting)), postings)
