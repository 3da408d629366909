"""Webhooks: budgets' warnings, delivered by POST.

A warning is a row, written in the transaction that notes that it was given: it is neither lost nor given twice,
whichever process ends or runs beside this one. Delivery is tried in growing pauses for a day.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.secrets import Secret
from tramontane.accounts.vault import Vault
from tramontane.billing.budgets import Watched, secret_context, watch_all
from tramontane.billing.tables import Budget, WebhookCall
from tramontane.errors import TramontaneError
from tramontane.outbound.client import Outbound
from tramontane.storage.base import new_id, now
from tramontane.storage.database import Database

logger = logging.getLogger(__name__)

SIGNATURE_HEADER = "x-tramontane-signature"
DELIVERY_HEADER = "x-tramontane-delivery"  # the same for each try: by it a receiver knows what it has had already

_PAUSE_SECONDS = 5.0
_CALL_SECONDS = 15.0  # less than the first pause, so that two tries never run at once
_AT_ONCE = 16  # calls
_MOST_PROBLEM = 300  # characters
_GIVEN_UP_AFTER = timedelta(days=1)
_PAUSES = [timedelta(seconds=seconds) for seconds in (30, 60, 300, 900, 3_600, 7_200, 14_400, 28_800)]


def signature(secret: Secret, moment: int, body: bytes) -> str:
    """`t=…,v1=…`: the HMAC-SHA256 of the moment, a point and the body. The moment tells a call that is played again."""
    digest = hmac.digest(secret.reveal().encode(), b"%d." % moment + body, "sha256")
    return f"t={moment},v1={digest.hex()}"


@dataclass(frozen=True)
class _Due:
    call: WebhookCall
    url: str
    encrypted_secret: bytes


class Webhooks:
    """Looks every few seconds whether a budget is to warn, and delivers. Nobody's request waits for it."""

    def __init__(self, database: Database, outbound: Outbound, vault: Vault) -> None:
        self._database, self._outbound, self._vault = database, outbound, vault

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.warn()
                await self.deliver()
            except Exception:
                logger.exception("webhooks could not be looked after; it is tried again")
            await asyncio.sleep(_PAUSE_SECONDS)

    # ── warnings ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def warn(self) -> None:
        """Notes which shares of which budgets have been spent since the last look."""
        async with self._database.read() as session:
            due = [(one, percents) for one in await watch_all(session) if (percents := _newly_spent(one))]
        for one, percents in due:
            async with self._database.write() as session:
                await _note_warnings(session, one, percents)

    # ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def deliver(self) -> None:
        """Tries what is due, many at once: one slow receiver keeps few others waiting."""
        while due := await self._claim():
            problems = await asyncio.gather(*(self._try(one) for one in due))
            async with self._database.write() as session:
                for one, problem in zip(due, problems, strict=True):
                    await session.execute(
                        update(WebhookCall).where(WebhookCall.id == one.call.id).values(_outcome(one.call, problem)),
                        execution_options={"synchronize_session": False},
                    )

    async def _claim(self) -> list[_Due]:
        """What is due now. It is put off at once, so that no other process tries it too."""
        claimed = []
        async with self._database.write() as session:
            for call, url, secret in await session.execute(_due_query()):
                attempts, next_try_at = call.attempts + 1, now() + _pause(call.attempts)
                untouched = update(WebhookCall).where(WebhookCall.id == call.id, WebhookCall.attempts == call.attempts)
                changed = untouched.values(attempts=attempts, next_try_at=next_try_at).returning(WebhookCall.id)
                if await session.scalar(changed, execution_options={"synchronize_session": False}) is not None:
                    claimed.append(_Due(call, url, secret))
        return claimed

    async def _try(self, due: _Due) -> str | None:
        """What went wrong."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return await self._call(due)
        except TimeoutError:
            return f"The receiver did not answer within {_CALL_SECONDS:.0f} seconds."
        except TramontaneError as error:
            return str(error)
        except Exception as error:
            logger.exception("a webhook could not be called")
            return f"The call failed: {type(error).__name__}."

    async def _call(self, due: _Due) -> str | None:
        secret = self._vault.decrypt(due.encrypted_secret, secret_context(due.call.budget_id))
        body = json.dumps(due.call.payload).encode()
        headers = {
            "content-type": "application/json",
            SIGNATURE_HEADER: signature(secret, int(time.time()), body),
            DELIVERY_HEADER: due.call.id,
        }
        async with self._outbound.request(
            "POST", due.url, data=body, headers=headers, public_only=True, first_byte_seconds=_CALL_SECONDS
        ) as response:
            if 200 <= response.status < 300:
                return None
            return f"The receiver answered {response.status}."


def _newly_spent(one: Watched) -> list[int]:
    """The shares, in percent, that have been reached and not warned of."""
    if one.budget.warned_month > one.month:  # a clock that jumped back warns nobody again
        return []
    return [
        percent
        for percent in one.budget.thresholds
        if one.warned_percent < percent and one.spend * 100 >= one.budget.amount * percent
    ]


async def _note_warnings(session: AsyncSession, one: Watched, percents: list[int]) -> None:
    budget = one.budget
    first = update(Budget).where(
        Budget.id == budget.id,
        Budget.warned_month == budget.warned_month,
        Budget.warned_percent == budget.warned_percent,
    )
    noted = first.values(warned_month=one.month, warned_percent=max(percents)).returning(Budget.id)
    if await session.scalar(noted, execution_options={"synchronize_session": False}) is None:
        return  # another process was faster
    if budget.webhook_url is not None:
        for percent in percents:
            call_id = new_id()
            payload = _payload(call_id, one, percent)
            session.add(WebhookCall(id=call_id, budget_id=budget.id, payload=payload, next_try_at=now()))


def _payload(call_id: str, one: Watched, percent: int) -> dict[str, Any]:
    budget = one.budget
    return {
        "id": call_id,
        "type": "budget.threshold_reached",
        "created_at": now().isoformat(),
        "data": {
            "budget_id": budget.id,
            "name": budget.name,
            "organisation_id": budget.organisation_id,
            "workspace_id": budget.workspace_id,
            "month": one.month,
            "threshold_percent": percent,
            "amount": budget.amount,
            "spend": one.spend,
            "currency": "EUR",
            "unit": "nano",
        },
    }


def _due_query() -> Any:
    return (
        select(WebhookCall, Budget.webhook_url, Budget.encrypted_secret)
        .join(Budget, Budget.id == WebhookCall.budget_id)
        .where(WebhookCall.delivered_at.is_(None), WebhookCall.next_try_at <= now())
        .order_by(WebhookCall.next_try_at)
        .limit(_AT_ONCE)
    )


def _pause(attempts: int) -> timedelta:
    return _PAUSES[min(attempts, len(_PAUSES) - 1)]


def _outcome(call: WebhookCall, problem: str | None) -> Mapping[str, datetime | str | None]:
    if problem is None:
        return {"delivered_at": now(), "next_try_at": None, "last_problem": None}
    if now() + _pause(call.attempts) < call.created_at + _GIVEN_UP_AFTER:
        return {"last_problem": problem[:_MOST_PROBLEM]}
    return {"next_try_at": None, "last_problem": f"Given up after {call.attempts + 1} tries. {problem}"[:_MOST_PROBLEM]}
