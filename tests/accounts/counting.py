"""How often a database was read, and a moment in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.storage.database import Database


class Reads:
    """Stands before a database's `read`: counts, and does `after` once an answer is there and not yet given."""

    def __init__(self, db: Database) -> None:
        self.count = 0
        self.after: Callable[[], Awaitable[None]] | None = None
        self._read = db.read
        db.read = self._counted  # type: ignore[method-assign]

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[AsyncSession]:
        self.count += 1
        async with self._read() as session:
            yield session
        after, self.after = self.after, None
        if after:
            await after()
