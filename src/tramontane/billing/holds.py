"""Holds as rows: how they are written, kept up to date, and taken away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from tramontane.billing.books import CountKey, count_keys
from tramontane.billing.requests import Ask, Counts, Kept
from tramontane.billing.tables import Hold, HoldPart, Outcome
from tramontane.billing.transfers import Row
from tramontane.catalogue.prices import Price
from tramontane.storage.statements import Prepared, among, table_of


class Held(NamedTuple):
    """A row of `holds`."""

    id: str
    organisation_id: str
    workspace_id: str
    key_id: str | None
    user_id: str
    route: str
    model: str
    offering_id: str
    price_id: str
    input_price: int
    cached_price: int
    output_price: int
    amount: int
    tokens: int
    month: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    started_at: datetime
    kept_at: datetime

    @property
    def counts(self) -> Counts:
        """As they were kept last; at first, the prompt that was asked for."""
        return Counts(self.prompt_tokens, self.cached_tokens, self.output_tokens)

    @property
    def is_counted(self) -> bool:
        """Whether anything was kept since it was placed."""
        return self.kept_at != self.started_at

    @property
    def price(self) -> Price:
        """At which it was placed."""
        return Price(self.price_id, self.input_price, self.cached_price, self.output_price)

    @property
    def count_keys(self) -> list[CountKey]:
        """The counts that it reserved from."""
        return count_keys(self.organisation_id, self.workspace_id, self.key_id, self.month)


class Part(NamedTuple):
    """A row of `hold_parts`."""

    hold_id: str
    lot_id: str
    amount: int


def take_holds(connection: Connection, ids: Sequence[str]) -> tuple[dict[str, Held], dict[str, list[Part]]]:
    """Deletes holds and their parts, and answers what they were. Whoever comes second finds nothing."""
    parts: dict[str, list[Part]] = {}
    if not ids:
        return {}, parts
    for row in _PARTS.read(connection, {"ids": ids}):
        part = Part(*row)
        parts.setdefault(part.hold_id, []).append(part)
    return {row[0]: Held(*row) for row in _TAKE.read(connection, {"ids": ids})}, parts


def keep_counts(connection: Connection, kept: Sequence[Kept], at: datetime) -> None:
    """Writes what has been delivered; of holds that have ended nothing is left to be written."""
    rows = [
        {
            "of": item.hold_id,
            "prompt_tokens": item.counts.prompt,
            "cached_tokens": item.counts.cached,
            "output_tokens": item.counts.output,
            "kept_at": at,
        }
        for item in sorted(kept, key=lambda item: item.hold_id)
    ]
    _KEEP.write(connection, rows)


def hold_row(ask: Ask, instance: str, amount: int, tokens: int, month: str, at: datetime) -> Row:
    """For a request that is accepted."""
    principal = ask.principal
    return {
        "id": ask.request_id,
        "instance": instance,
        "organisation_id": principal.organisation_id,
        "workspace_id": principal.workspace_id,
        "key_id": principal.key_id,
        "user_id": principal.user_id,
        "route": ask.route,
        "model": ask.model,
        "offering_id": ask.offering_id,
        "price_id": ask.price.id,
        "input_price": ask.price.input,
        "cached_price": ask.price.cached_input,
        "output_price": ask.price.output,
        "amount": amount,
        "tokens": tokens,
        "month": month,
        # What an accepted request owes, should the process be killed before it counts anything.
        "prompt_tokens": ask.prompt_tokens,
        "cached_tokens": 0,
        "output_tokens": 0,
        "started_at": at,
        "kept_at": at,
    }


def usage_row(held: Held, counts: Counts, amount: int, outcome: Outcome, is_estimate: bool, at: datetime) -> Row:
    """For a request that has ended."""
    return {
        "id": held.id,
        "organisation_id": held.organisation_id,
        "workspace_id": held.workspace_id,
        "key_id": held.key_id,
        "user_id": held.user_id,
        "route": held.route,
        "model": held.model,
        "offering_id": held.offering_id,
        "price_id": held.price_id,
        "prompt_tokens": counts.prompt,
        "cached_tokens": counts.cached,
        "output_tokens": counts.output,
        "amount": amount,
        "outcome": outcome,
        "is_estimate": is_estimate,
        "started_at": held.started_at,
        "settled_at": at,
    }


def _select_parts(dialect: str) -> Any:
    part = table_of(HoldPart).c
    columns = [part[name] for name in Part._fields]
    return select(*columns).where(among(dialect, part.hold_id, "ids")).order_by(part.hold_id, part.position)


def _take(dialect: str) -> Any:
    hold = table_of(Hold).c
    columns = [hold[name] for name in Held._fields]
    return delete(table_of(Hold)).where(among(dialect, hold.id, "ids")).returning(*columns)


_PARTS, _TAKE = Prepared(_select_parts), Prepared(_take)
_KEEP = Prepared(
    lambda _: update(table_of(Hold)).where(table_of(Hold).c.id == bindparam("of")),
    ("prompt_tokens", "cached_tokens", "output_tokens", "kept_at"),
)
