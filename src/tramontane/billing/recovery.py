"""What dead processes left: their holds are settled at what they kept last.

A hold that is found here is always charged and always has a usage row: nobody knows whether its first byte went out,
and its row says, from the beginning, what an accepted request owes. It is found once, since it is deleted with the
usage that it becomes.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from tramontane.billing.instances import is_dead
from tramontane.billing.ledger import Work, carry_out
from tramontane.billing.requests import Ending
from tramontane.billing.tables import Hold

logger = logging.getLogger(__name__)

_AT_ONCE = 500  # holds that one transaction settles


def find_dead(connection: Connection, own: str, file: Path | None) -> set[str]:
    """The instances that have holds and live no more; `own` is left out, `file` is SQLite's."""
    others = connection.scalars(select(Hold.instance).where(Hold.instance != own).distinct())
    return {instance for instance in others.all() if is_dead(connection, file, instance)}


def recover(connection: Connection, instance: str, file: Path | None, moment: datetime) -> int:
    """Settles holds of an instance that is dead; how many, at most 500 at once."""
    if not is_dead(connection, file, instance):
        return 0
    query = select(Hold.id).where(Hold.instance == instance).order_by(Hold.id).limit(_AT_ONCE)
    left = connection.scalars(query).all()
    charged = carry_out(
        connection, Work(endings=[Ending(hold, None, "interrupted") for hold in left]), instance, moment
    ).charged
    amounts = [amount for amount in charged.values() if amount is not None]
    if amounts:
        logger.warning(
            "settled what a server that was killed left, at what it had kept last: %d requests, %d nano-euros",
            len(amounts),
            sum(amounts),
        )
    return len(amounts)
