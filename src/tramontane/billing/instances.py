"""Which processes live: each has a lock while it does, and no kind of death keeps it.

With SQLite it is a lock on a file beside the database, with PostgreSQL an advisory lock of a session of its own (so
a pooler between us and the server has to pool sessions, not transactions).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from tramontane.storage.base import new_id
from tramontane.storage.database import Database

# So that the server finds within seconds that a machine is gone; ignored where it is reached by a local socket.
_NOTICE = (
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
)


class Instance:
    """This process as the ledger knows it. Holds are placed in its name while its lock is held."""

    def __init__(self, database: Database) -> None:
        self.id = new_id()
        self._database = database
        self._file: int | None = None
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Takes the lock."""
        await asyncio.to_thread(self._open)

    async def check(self) -> None:
        """Takes the lock anew where the server has lost it, with the connection."""
        await asyncio.to_thread(self._check)

    async def close(self) -> None:
        """Gives the lock up: what is held in its name from now on is anybody's to settle."""
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        if self._database.file is not None:
            self._file = _lock_file(lock_path(self._database.file, self.id))
            return
        self._connection = self._database.connect()
        for statement in _NOTICE:
            self._connection.execute(text(statement))
        self._connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _key(self.id)})

    def _check(self) -> None:
        if self._database.file is not None:
            return
        try:
            if self._connection is not None:
                self._connection.execute(text("SELECT 1"))
                return
        except SQLAlchemyError:
            self._close()
        self._open()

    def _close(self) -> None:
        if self._file is not None and self._database.file is not None:
            lock_path(self._database.file, self.id).unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # not back into the pool, where the lock would outlive its owner
            connection.close()


def is_dead(connection: Connection, file: Path | None, instance: str) -> bool:
    """Whether nobody has the instance's lock; `file` is SQLite's.

    On PostgreSQL the lock is then ours until the transaction ends, so that one process alone finds it dead.
    """
    if file is None:
        return bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _key(instance)}))
    path = lock_path(file, instance)
    try:
        opened = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(opened)
    return True


def remove_dead_locks(file: Path) -> None:
    """Removes the files that killed processes have left."""
    for path in lock_path(file, "").parent.glob("*.lock"):
        with contextlib.suppress(OSError):
            opened = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(opened)


def lock_path(file: Path, instance: str) -> Path:
    """Of an instance that works with the SQLite database `file`."""
    return file.parent / "run" / f"{instance}.lock"


def _lock_file(path: Path) -> int:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    while True:
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(opened, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened), path.stat()):
                return opened
        os.close(opened)  # somebody who tidied up took it for a dead one's


def _key(instance: str) -> int:
    """PostgreSQL's locks have 64-bit numbers; the random part of an id is longer."""
    return int(instance[-15:], 16)
