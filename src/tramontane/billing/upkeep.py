"""What the ledger needs beside requests: lots that begin and end, and heirs for processes that died."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from tramontane.billing.clock import Clock
from tramontane.billing.instances import Instance, remove_dead_locks
from tramontane.billing.lots import end_lots
from tramontane.billing.month_lots import open_month_lots
from tramontane.billing.months import month_of
from tramontane.billing.recovery import find_dead, recover
from tramontane.storage.database import Database


class Upkeep:
    """Of one process; several may do it at once."""

    def __init__(self, database: Database, instance: Instance, clock: Clock) -> None:
        self._database, self._instance, self._clock = database, instance, clock
        self._month = ""  # whose lots are there
        self._suspects: set[str] = set()

    async def begin(self) -> None:
        """Settles at once what dead processes have left."""
        if self._database.file is not None:
            remove_dead_locks(self._database.file)
        await self._recover(await self._look_after())

    async def go_on(self) -> None:
        """To be called each few seconds."""
        await self._instance.check()
        dead = await self._look_after()
        # Seen twice: one whose connection was lost has had the time to take its lock again.
        await self._recover(dead & self._suspects)
        self._suspects = dead

    async def _look_after(self) -> set[str]:
        """Ends lots and makes the month's; answers which instances seem dead."""
        moment = self._clock.moment()
        dead = await self._database.transact(partial(self._look_after_at, moment))
        self._month = month_of(moment)  # not before it is committed: what was undone is done the next time
        return dead

    def _look_after_at(self, moment: datetime, connection: Connection) -> set[str]:
        end_lots(connection, moment)  # first, since who serves requests locks lots before caps as well
        if month_of(moment) != self._month:
            open_month_lots(connection, moment)
        return find_dead(connection, self._instance.id, self._database.file)

    async def _recover(self, instances: Iterable[str]) -> None:
        for instance in sorted(instances):
            while await self._database.transact(partial(self._recover_some, instance)):
                pass

    def _recover_some(self, instance: str, connection: Connection) -> int:
        return recover(connection, instance, self._database.file, self._clock.moment())
