"""Databases to test on: the same scenario runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.storage.postgres import postgres_server
from tramontane.storage.database import Database

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a database is; `url` None is SQLite in `home`."""

    url: str | None
    home: Path

    def open(self) -> Database:
        return Database.open(self.url, self.home)

    def run(self, scenario: Callable[[Database], Awaitable[T]], upgrade: bool = True) -> T:
        """The scenario's answer, on this database."""

        async def main() -> T:
            db = self.open()
            try:
                if upgrade:
                    await db.upgrade()
                return await scenario(db)
            finally:
                await db.close()

        return asyncio.run(main())

    def arguments(self) -> list[str]:
        """For a program of `tests.storage.processes`."""
        return [self.url or "", str(self.home)]


def place_of(arguments: list[str]) -> Place:
    """What `arguments` said."""
    return Place(arguments[0] or None, Path(arguments[1]))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database."""
    return Place(None if request.param == "sqlite" else postgres_server().new_database(), tmp_path)
