"""How SQLite is used: what each connection is told, and how its transactions begin."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

BUSY_TIMEOUT = 10.0  # seconds that a writer waits for another process
_CHECKPOINT_PAGES = 4000  # 16 MB of log; whoever commits does the checkpoint, and SQLite's 1000 are a few dozen answers

# `isolation_level` None: Python's sqlite3 begins no transactions of its own.
CONNECT_ARGS = {"timeout": BUSY_TIMEOUT, "isolation_level": None}


def tell_connections(engine: Engine, *pragmas: str) -> None:
    """Each connection of `engine` begins with these PRAGMAs.

    Always with synchronous=FULL: an answered commit is on the disk, as money demands. NORMAL would forget the last
    commits at a power cut; what it saves is one fsync a commit, a quarter of a millisecond on an NVMe disk.
    """

    @event.listens_for(engine, "connect")
    def _tell(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in ("synchronous=FULL", f"wal_autocheckpoint={_CHECKPOINT_PAGES}", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def begin_with(engine: Engine, statement: str) -> None:
    """Each transaction of `engine` begins with `statement`.

    A writer's is BEGIN IMMEDIATE: one that began as a reader cannot wait for its turn, it can only fail.
    """

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)
