"""Transactions whose halves are easy to find: two rows of one number, both there or neither."""

from __future__ import annotations

from sqlalchemy import Connection, text

from tramontane.storage.base import new_id, now
from tramontane.storage.database import Database

_ORGANISATION = text("INSERT INTO organisations (id, name, created_at) VALUES (:id, :name, :moment)")
_USER = text("INSERT INTO users (id, name, created_at) VALUES (:id, :name, :moment)")


async def write_pair(db: Database, number: int) -> None:
    async with db.write() as session:
        for insert in (_ORGANISATION, _USER):
            row = {"id": new_id(), "name": str(number), "moment": now().replace(tzinfo=None).isoformat()}
            await session.execute(insert, row)


async def pairs(db: Database) -> list[int]:
    """The numbers that were written; the two halves must agree."""
    async with db.read() as session:
        first = (await session.scalars(text("SELECT name FROM organisations"))).all()
        second = (await session.scalars(text("SELECT name FROM users"))).all()
    assert sorted(first) == sorted(second)
    return sorted(map(int, first))


async def add_one(db: Database) -> None:
    """Reads the number of the one pair, then writes the next."""
    async with db.write() as session:
        following = str(int(await session.scalar(text("SELECT name FROM users"))) + 1)
        for table in ("users", "organisations"):
            await session.execute(text(f"UPDATE {table} SET name = :name"), {"name": following})


def add_one_in_a_thread(connection: Connection) -> None:
    """The same for `transact`."""
    following = str(int(connection.scalar(text("SELECT name FROM users"))) + 1)
    for table in ("users", "organisations"):
        connection.execute(text(f"UPDATE {table} SET name = :name"), {"name": following})
