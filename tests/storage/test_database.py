"""Sessions: what is kept, what is not, and what others see."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tests.storage.pairs import add_one, add_one_in_a_thread, pairs, write_pair
from tests.storage.places import Place
from tests.storage.postgres import postgres_server
from tests.storage.processes import go, start
from tramontane.storage.base import new_id
from tramontane.storage.database import Database
from tramontane.storage.errors import StorageError
from tramontane.storage.sqlite import CONNECT_ARGS


def test_a_write_is_kept_whole_or_not_at_all(place: Place) -> None:
    async def delete_and_fail(db: Database) -> None:
        async with db.write() as session:
            await session.execute(text("DELETE FROM users"))
            1 / 0

    async def scenario(db: Database) -> list[int]:
        await write_pair(db, 1)
        with pytest.raises(ZeroDivisionError):
            await delete_and_fail(db)
        return await pairs(db)

    assert place.run(scenario) == [1]
    assert place.run(pairs) == [1]


def test_a_transaction_in_a_thread_is_kept_whole_or_not_at_all(place: Place) -> None:
    def delete_and_fail(connection: Connection) -> None:
        connection.execute(text("DELETE FROM users"))
        1 / 0

    def rename(connection: Connection) -> int:
        for table in ("users", "organisations"):
            connection.execute(text(f"UPDATE {table} SET name = '2' WHERE name = '1'"))
        return 7

    async def scenario(db: Database) -> None:
        await write_pair(db, 1)
        with pytest.raises(ZeroDivisionError):
            await db.transact(delete_and_fail)
        assert await pairs(db) == [1]
        assert await db.transact(rename) == 7
        assert await pairs(db) == [2]

    place.run(scenario)


def test_a_transaction_in_a_thread_ends_though_nobody_waits_for_it(place: Place) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    def rename_slowly(connection: Connection) -> None:
        begun.set()
        assert may_go_on.wait(10)
        for table in ("users", "organisations"):
            connection.execute(text(f"UPDATE {table} SET name = '2' WHERE name = '1'"))

    async def scenario(db: Database) -> None:
        await write_pair(db, 1)
        task = asyncio.create_task(db.transact(rename_slowly))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        others = [asyncio.create_task(write_pair(db, number)) for number in (3, 4)]
        await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.gather(*others)
        assert await pairs(db) == [2, 3, 4]

    place.run(scenario)


def test_a_reader_cannot_write(place: Place) -> None:
    async def scenario(db: Database) -> None:
        for _ in range(2):  # and the connections that it leaves behind are as they were
            async with db.read() as session:
                with pytest.raises(DBAPIError, match=r"readonly|read-only"):
                    await session.execute(text("DELETE FROM users"))
            await write_pair(db, 1)

    place.run(scenario)


def test_a_reader_sees_one_moment_and_stops_no_writer(place: Place) -> None:
    async def scenario(db: Database) -> None:
        count = text("SELECT count(*) FROM users")
        async with db.read() as session:
            assert await session.scalar(count) == 0
            await write_pair(db, 1)
            assert await session.scalar(count) == 0
        assert await pairs(db) == [1]

    place.run(scenario)


def test_writers_of_one_process_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite: with a busy timeout of 0, a writer that met another would fail at once."""
    monkeypatch.setitem(CONNECT_ARGS, "timeout", 0.0)

    async def scenario(db: Database) -> None:
        await write_pair(db, 0)
        in_threads = (db.transact(add_one_in_a_thread) for _ in range(20))
        await asyncio.gather(*(add_one(db) for _ in range(40)), *in_threads)
        assert await pairs(db) == [60]

    Place(None, tmp_path).run(scenario)


def test_writers_of_several_processes_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite: each reads before it writes, and what it read is still true then."""
    place = Place(None, tmp_path)

    async def scenario(db: Database) -> None:
        await write_pair(db, 0)
        others = [place.open() for _ in range(3)]  # with connections of their own, as other processes
        await asyncio.gather(*(add_one(other) for other in others for _ in range(10)))
        await asyncio.gather(*(other.close() for other in others))
        assert await pairs(db) == [30]

    place.run(scenario)


def test_readers_who_stay_leave_room_for_a_writer(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        async with asyncio.TaskGroup() as group:
            done = asyncio.Event()

            async def stay() -> None:
                async with db.read() as session:
                    await session.execute(text("SELECT 1"))
                    await done.wait()

            for _ in range(40):  # more than there are connections
                group.create_task(stay())
            await asyncio.wait_for(write_pair(db, 1), timeout=20)
            done.set()

    Place(None, tmp_path).run(scenario)


def test_cancelled_writers_leave_no_half_and_no_lock(place: Place) -> None:
    chance = random.Random(7)

    async def scenario(db: Database) -> None:
        tasks = [asyncio.create_task(write_pair(db, number)) for number in range(60)]
        while not all(task.done() for task in tasks):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)  # one turn of the loop: cancelled wherever it happens to be
            await write_pair(db, 1000) if chance.random() < 0.1 else None
            chance.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kept = {number for number, task in enumerate(tasks) if not task.cancelled()}
        await write_pair(db, 2000)
        written = await pairs(db)
        assert kept <= set(written)
        assert written[-1] == 2000

    place.run(scenario)


def test_kill_9_keeps_what_was_committed(place: Place) -> None:
    process = start("tests.storage.program_write", *place.arguments())
    go(process)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    told += map(int, process.stdout.read().splitlines())
    process.wait()

    async def scenario(db: Database) -> list[int]:
        assert await db.is_ready()
        written = await pairs(db)
        await write_pair(db, 10**6)
        return written

    written = place.run(scenario)
    assert written[: len(told)] == told
    assert len(written) <= len(told) + 1  # one may have been committed and not told


def test_a_sqlite_database_is_whole_after_kill_9(tmp_path: Path) -> None:
    process = start("tests.storage.program_write", *Place(None, tmp_path).arguments())
    go(process)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    async def scenario(db: Database) -> str | None:
        async with db.read() as session:
            return await session.scalar(text("PRAGMA integrity_check"))

    assert Place(None, tmp_path).run(scenario) == "ok"


def test_a_commit_is_on_the_disk_and_references_hold(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            assert await session.scalar(text("PRAGMA synchronous")) == 2  # FULL
            assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
            assert await session.scalar(text("PRAGMA foreign_keys")) == 1

    Place(None, tmp_path).run(scenario)


def test_what_refers_to_nothing_is_refused(place: Place) -> None:
    async def scenario(db: Database) -> None:
        with pytest.raises(DBAPIError, match=r"(?i)foreign key"):
            async with db.write() as session:
                await session.execute(
                    text("INSERT INTO memberships (user_id, organisation_id, role) VALUES (:id, :id, 'owner')"),
                    {"id": new_id()},
                )

    place.run(scenario)


def test_errors_do_not_quote_rows(place: Place) -> None:
    async def scenario(db: Database) -> None:
        with pytest.raises(DBAPIError) as refusal:
            async with db.write() as session:
                await session.execute(
                    text("INSERT INTO users (id, name) VALUES (:id, :name)"), {"id": "1", "name": "Eve"}
                )
        assert "Eve" not in str(refusal.value).split("DETAIL")[0]

    place.run(scenario)


def test_ready_is_said_only_where_it_is_true(place: Place) -> None:
    async def scenario(db: Database) -> None:
        assert not await db.is_ready()
        await db.upgrade()
        assert await db.is_ready()
        async with db.write() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
        assert not await db.is_ready()
        await db.close()
        assert not await db.is_ready()
        with pytest.raises(StorageError, match="closed"):
            async with db.read():
                pass

    place.run(scenario, upgrade=False)


def test_no_server_and_no_database_are_not_ready(tmp_path: Path) -> None:
    (tmp_path / "tramontane.db").write_bytes(b"this is no database, it is prose" * 64)
    for url in (None, "postgresql://user:password@127.0.0.1:1/name"):
        assert not Place(url, tmp_path).run(Database.is_ready, upgrade=False)


def test_a_restarted_server_costs_nobody_a_request(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        await write_pair(db, 1)
        other = Database.open(url, tmp_path)
        async with other.write() as session:
            everyone = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
            await session.execute(text(f"{everyone} AND pid <> pg_backend_pid()"))
        await other.close()
        await write_pair(db, 2)
        assert await pairs(db) == [1, 2]

    url = postgres_server().new_database()
    Place(url, tmp_path).run(scenario)
