"""Transactions of the ledger: holds are placed, and end in a charge or a release.

One transaction does the work of many requests. It locks and reads what they concern, decides in memory one after the
other, and writes everything at once: the usage, its transfer and its postings are there together or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from tramontane.billing.books import Books, CountKey, CountLine, LotLine, count_keys
from tramontane.billing.holds import Held, Part, hold_row, keep_counts, take_holds, usage_row
from tramontane.billing.month_lots import open_month_lots
from tramontane.billing.months import month_of
from tramontane.billing.pricing import affordable_output, cost, worst_case
from tramontane.billing.rates import Cap
from tramontane.billing.refusals import no_money, spend_cap_reached, token_cap_reached, waited_in_vain
from tramontane.billing.requests import NO_LIMIT, Ask, Counts, Ending, Granted, Kept
from tramontane.billing.tables import REVENUE, Hold, HoldPart, Posting, Transfer, UsageRow
from tramontane.billing.transfers import entry
from tramontane.errors import TramontaneError
from tramontane.storage.statements import driver_errors

logger = logging.getLogger(__name__)

Verdict = Granted | TramontaneError | None
"""What became of an ask; None: the money is only held by others, so it is worth waiting for."""


@dataclass(slots=True)
class Work:
    """What one transaction is to do. `last_tries` are asks that have waited long enough: they are not told to wait."""

    endings: Sequence[Ending] = ()
    last_tries: Sequence[Ask] = ()
    asks: Sequence[Ask] = ()
    kept: Sequence[Kept] = ()


@dataclass(slots=True)
class Done:
    """What it did: charged amounts by hold, None where there was no such hold; and the verdicts, in the asks' order.

    `found` are those of the charged ones that had been charged before.
    """

    charged: dict[str, int | None] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    last_verdicts: list[Verdict] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def carry_out(connection: Connection, work: Work, instance: str, moment: datetime) -> Done:
    """Does the work, in the connection's transaction, in the name of an instance."""
    with driver_errors(connection):
        ledger = _Ledger(connection, instance, moment)
        done = Done(ledger.end(work.endings, (*work.last_tries, *work.asks)))
        done.last_verdicts = [ledger.try_to_hold(ask, is_last_try=True) for ask in work.last_tries]
        done.verdicts = [ledger.try_to_hold(ask) for ask in work.asks]
        ledger.books.write()
        keep_counts(connection, work.kept, moment)
    _find(connection, done)
    return done


def _find(connection: Connection, done: Done) -> None:
    """Looks for those that had no hold any more."""
    missing = [hold_id for hold_id, amount in done.charged.items() if amount is None]
    if missing:
        query = select(UsageRow.id, UsageRow.amount).where(UsageRow.id.in_(missing))
        found = {hold_id: amount for hold_id, amount in connection.execute(query)}
        done.charged |= found
        done.found = set(found)


class _Ledger:
    def __init__(self, connection: Connection, instance: str, moment: datetime) -> None:
        self.books = Books(connection)
        self._connection = connection
        self._instance = instance
        self._moment = moment
        self._month = month_of(moment)
        # What those wait for who came earlier and could not be served: nobody is served from it before them.
        self._claimed: set[str | CountKey] = set()
        self._months_opened: set[str] = set()

    # ── endings ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, endings: Sequence[Ending], asks: Sequence[Ask]) -> dict[str, int | None]:
        """Ends holds. Locks what they and the asks concern."""
        holds, parts = take_holds(self._connection, [ending.hold_id for ending in endings])
        organisations = {ask.principal.organisation_id for ask in asks}
        self.books.load_lots({part.lot_id for group in parts.values() for part in group}, organisations)
        if any(ask.caps for ask in asks):
            keys = {key for held in holds.values() for key in held.count_keys}
            self.books.load_counts(keys | {key for ask in asks for key in self._keys_of(ask)})
        charged: dict[str, int | None] = {}
        for ending in endings:
            held = holds.pop(ending.hold_id, None)
            charged[ending.hold_id] = None if held is None else self._end(ending, held, parts.get(held.id, []))
        return charged

    def _end(self, ending: Ending, held: Held, parts: Sequence[Part]) -> int:
        counts = ending.counts or held.counts
        amount = 0 if ending.outcome is None else _charge_of(held, counts)
        drawn = self._draw(parts, amount)
        self.books.change_counts(held.count_keys, reserved=-held.tokens, held=-held.amount)
        if ending.outcome is not None:
            self.books.change_counts(held.count_keys, tokens=counts.prompt + counts.output, spend=amount)
            at = max(self._moment, held.started_at)
            # Of a hold that nobody has counted for, the prompt is what was asked: an upper bound.
            is_estimate = ending.is_estimate or (ending.counts is None and not held.is_counted)
            self.books.add_usage(usage_row(held, counts, amount, ending.outcome, is_estimate, at))
            if amount:
                amounts = {**drawn, REVENUE: amount}
                transfer, postings = entry(held.organisation_id, "charge", at, amounts, usage_id=held.id)
                self.books.add(Transfer, transfer)
                self.books.add(Posting, *postings)
        return amount

    def _draw(self, parts: Sequence[Part], amount: int) -> dict[str, int]:
        """Frees the parts of a hold, and takes `amount` out of them in their order; the postings of the lots."""
        drawn: dict[str, int] = {}
        for part in parts:
            taken = min(part.amount, amount)
            amount -= taken
            self.books.change_lot(part.lot_id, balance=-taken, held=-part.amount)
            if taken:
                drawn[part.lot_id] = -taken
        return drawn

    # ── holds ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def try_to_hold(self, ask: Ask, *, is_last_try: bool = False) -> Verdict:
        """Places a hold, if there are money and room for one token of output at least."""
        claimed: Set[str | CountKey] = frozenset() if is_last_try else self._claimed
        lots = self._lots_for(ask)
        try:
            room = self._room(ask, lots, claimed)
        except TramontaneError as refusal:
            return refusal
        if not room.lacking:
            return self._hold(ask, room, [lot for lot in lots if lot.id not in claimed])
        if is_last_try:
            return waited_in_vain(room.lacking)
        self._claimed |= room.lacking
        return None

    def _lots_for(self, ask: Ask) -> list[LotLine]:
        """The lots that may pay for it, in the order in which they are drawn on."""
        organisation = ask.principal.organisation_id
        lots = [lot for lot in self.books.active[organisation] if lot.pays(ask.model, self._moment)]
        wish = worst_case(ask.price, ask.prompt_tokens, ask.max_output)
        if organisation in self._months_opened or sum(lot.free for lot in lots) >= wish:
            return lots
        self._months_opened.add(organisation)
        made = open_month_lots(self._connection, self._moment, [organisation])
        self.books.load_lots(made, ())
        return self._lots_for(ask) if made else lots

    def _room(self, ask: Ask, lots: Sequence[LotLine], claimed: Set[str | CountKey]) -> _Room:
        """Raises where waiting for others would not help."""
        least = _Least(ask)
        free = sum(lot.free for lot in lots if lot.id not in claimed)
        room = _Room(free)
        if least.money > free:
            balance = sum(lot.balance for lot in lots)
            if least.money > balance:
                raise no_money(least.money, balance)
            room.lacking |= {lot.id for lot in lots}
        for cap in ask.caps:
            key: CountKey = (cap.scope, cap.scope_id, self._month)
            room.narrow(key, cap, self.books.counts[key], least, key in claimed)
        return room

    def _hold(self, ask: Ask, room: _Room, lots: Sequence[LotLine]) -> Granted:
        output = min(
            affordable_output(ask.price, ask.prompt_tokens, ask.max_output, room.money),
            room.tokens - ask.prompt_tokens,
        )
        amount = worst_case(ask.price, ask.prompt_tokens, output)
        tokens = ask.prompt_tokens + output
        self.books.change_counts(self._keys_of(ask), reserved=tokens, held=amount)
        self.books.add(Hold, hold_row(ask, self._instance, amount, tokens, self._month, self._moment))
        rest, position = amount, 0
        for lot in lots:
            part = min(lot.free, rest)
            if part > 0:
                self.books.change_lot(lot.id, held=part)
                self.books.add(
                    HoldPart, {"hold_id": ask.request_id, "position": position, "lot_id": lot.id, "amount": part}
                )
                rest, position = rest - part, position + 1
        return Granted(output, amount, room.money - amount, room.tokens - tokens)

    def _keys_of(self, ask: Ask) -> list[CountKey]:
        of = ask.principal
        return count_keys(of.organisation_id, of.workspace_id, of.key_id, self._month)


class _Least:
    """What a request takes if it is cut after its first token of output."""

    def __init__(self, ask: Ask) -> None:
        output = min(1, ask.max_output)
        self.money = worst_case(ask.price, ask.prompt_tokens, output)
        self.tokens = ask.prompt_tokens + output


@dataclass(slots=True)
class _Room:
    """What a request may take now; and what there is too little of until others' holds end."""

    money: int
    tokens: int = NO_LIMIT
    lacking: set[str | CountKey] = field(default_factory=set)

    def narrow(self, key: CountKey, cap: Cap, count: CountLine, least: _Least, is_claimed: bool) -> None:
        """To what a cap leaves. Raises where it leaves too little even when all that is held comes back."""
        if cap.spend_per_month is not None:
            left = max(0, cap.spend_per_month - count.spend)
            if least.money > left:
                raise spend_cap_reached(cap)
            self.money = min(self.money, 0 if is_claimed else max(0, left - count.spend_held))
        if cap.tokens_per_month is not None:
            left = max(0, cap.tokens_per_month - count.tokens)
            if least.tokens > left:
                raise token_cap_reached(cap, key[2])
            self.tokens = min(self.tokens, 0 if is_claimed else max(0, left - count.tokens_reserved))
        if least.money > self.money or least.tokens > self.tokens:
            self.lacking.add(key)


def _charge_of(held: Held, counts: Counts) -> int:
    """Never more than was held for it."""
    amount = cost(held.price, counts.prompt, counts.cached, counts.output)
    if amount > held.amount:
        logger.warning(
            "request %s took %d tokens of prompt and %d of output, %d nano-euros; charged are the %d that were held",
            held.id, counts.prompt, counts.output, amount, held.amount,
        )  # fmt: skip
    return min(amount, held.amount)
