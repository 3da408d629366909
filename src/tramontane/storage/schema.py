"""The schema of a database: which revision it has, and how it comes to the newest one."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from tramontane.storage.errors import StorageError
from tramontane.storage.sqlite import CONNECT_ARGS, begin_with, tell_connections

_ALEMBIC = threading.Lock()  # what it passes to migrations goes through globals
_POSTGRESQL_LOCK = 7_216_539_142_026  # any number that nobody else uses


def upgrade(url: URL) -> None:
    """Brings the database to the newest schema, in one transaction; of two processes, one waits for the other.

    Raises StorageError where the schema is of a newer Tramontane.
    """
    with _ALEMBIC, _turn(url), _engine(url) as engine, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
        _refuse_newer(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if engine.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise StorageError("The upgrade of the database would break references between rows; nothing was changed.")


@cache
def head() -> str:
    """The newest revision that this code knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


@contextmanager
def _turn(url: URL) -> Iterator[None]:
    """On SQLite one process at a time: the change to WAL does not wait for locks, it fails."""
    if url.get_backend_name() != "sqlite":
        yield
        return
    # The folder is locked and not the file, because closing the file would drop SQLite's own locks on it.
    folder = os.open(Path(str(url.database)).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def _engine(url: URL) -> Iterator[Engine]:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, connect_args=CONNECT_ARGS, hide_parameters=True)
        # A migration may have to build a table anew; with foreign keys on, dropping the old one would delete rows
        # that refer to it. They are checked at the end instead.
        tell_connections(engine, "journal_mode=WAL", "foreign_keys=OFF")
        begin_with(engine, "BEGIN IMMEDIATE")
    else:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        yield engine
    finally:
        engine.dispose()


def _refuse_newer(connection: Connection) -> None:
    known = {revision.revision for revision in ScriptDirectory.from_config(_config()).walk_revisions()}
    for found in MigrationContext.configure(connection).get_current_heads():
        if found not in known:
            raise StorageError(
                f"The database has the schema {found!r} of a newer Tramontane; this one knows up to {head()!r}: "
                "install the newer version, or restore a backup from before it."
            )
