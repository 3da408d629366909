"""What one transaction of the ledger does for many, and who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tramontane.billing.ledger import Done, Verdict, Work
from tramontane.billing.requests import Ask, Ending, Kept

M = TypeVar("M")


@dataclass(slots=True, eq=False)
class Asking(Generic[M]):
    """Somebody who waits for a hold."""

    ask: Ask
    answer: asyncio.Future[M]
    asked_at: float  # of the event loop's clock

    def refuse(self, error: Exception) -> None:
        """Unless nobody waits any more."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True, eq=False)
class PendingEnding:
    """A hold that is to end, until that is committed."""

    ending: Ending
    answer: asyncio.Future[int]
    is_retry: bool = False


@dataclass(slots=True)
class Batch(Generic[M]):
    """The work of a transaction. `done` is there once everything but the commit has succeeded."""

    endings: list[PendingEnding] = field(default_factory=list)
    last_tries: list[Asking[M]] = field(default_factory=list)
    asks: list[Asking[M]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    done: Done | None = None

    @property
    def asking(self) -> list[Asking[M]]:
        """Everybody who waits for a hold."""
        return [*self.last_tries, *self.asks]

    @property
    def size(self) -> int:
        """In operations that can spoil it."""
        return len(self.endings) + len(self.last_tries) + len(self.asks)

    def work(self) -> Work:
        """For the ledger."""
        return Work(
            [item.ending for item in self.endings],
            [item.ask for item in self.last_tries],
            [item.ask for item in self.asks],
            self.kept,
        )

    def verdicts(self) -> list[tuple[Asking[M], Verdict]]:
        """What became of each; nothing where it did not come so far."""
        if self.done is None:
            return []
        return list(zip(self.asking, [*self.done.last_verdicts, *self.done.verdicts], strict=True))
