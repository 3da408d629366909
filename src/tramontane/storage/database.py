"""Sessions on SQLite or PostgreSQL, alike to whoever uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tramontane.storage import schema
from tramontane.storage.errors import StorageError
from tramontane.storage.location import censor, describe, locate
from tramontane.storage.sqlite import BUSY_TIMEOUT, CONNECT_ARGS, begin_with, tell_connections

T = TypeVar("T")

_READY_WITHIN = 5.0  # seconds; whoever asks more slowly than this is not ready
_THREADS = 4  # that `transact` has at most
# A PostgreSQL that has gone without a word is found gone in about ten seconds; a lock is waited for as on SQLite.
_NOTICE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_LOCK_WAIT = f"SET lock_timeout = '{BUSY_TIMEOUT:.0f}s'"


class Database:
    """One database. Readers see one moment of it and cannot write; a writer's changes are kept together or not at all.

    SQLite has one connection for writing, so that writers of this process wait for each other in a queue, in order,
    and BEGIN IMMEDIATE waits for other processes only. Hence a task that writes must not open a second `write()`.
    PostgreSQL's writers run side by side, at READ COMMITTED: what they decide, they decide in the UPDATE itself.
    """

    def __init__(self, url: URL, readers: AsyncEngine, writers: AsyncEngine, threaded: Engine) -> None:
        self._url = url
        self._readers = readers
        self._writers = writers
        self._threaded = threaded
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="database")
        self._turns = asyncio.Lock() if self.file is not None else None
        self._closed = False

    @classmethod
    def open(cls, url: str | None, home: Path) -> Database:
        """The database at `url`, sqlite:///… or postgresql://…, or the file tramontane.db in `home` for None.

        Nothing is asked of a server yet. Raises StorageError, whose message never holds the URL's password.
        """
        located = locate(url, home)
        return cls(located, *(_sqlite(located) if located.get_backend_name() == "sqlite" else _postgresql(located)))

    @property
    def file(self) -> Path | None:
        """SQLite's; None: PostgreSQL."""
        return Path(str(self._url.database)) if self._url.get_backend_name() == "sqlite" else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that reads; what it tries to write is an error."""
        async with self._session(self._readers) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session in a transaction: committed at the end, rolled back where an error leaves the block."""
        async with self._turn(), self._session(self._writers) as session, session.begin():
            yield session

    async def transact(self, function: Callable[[Connection], T]) -> T:
        """What `function` answers, which runs in a thread, in a transaction like that of `write`.

        For work of many statements, each of which would cost `write` two changes of threads. Once begun it is not
        cancelled: who waits for it waits for its end. Who works with a server that was restarted is told so by a
        DBAPIError that has `connection_invalidated`, and tries again.
        """
        if self._closed:
            raise StorageError("The database has been closed.")
        async with self._turn():
            running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, function)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])  # others' turn comes when the thread is done
                raise

    def connect(self) -> Connection:
        """A connection for as long as its owner likes, with no transaction, for use in threads."""
        return self._threaded.connect().execution_options(isolation_level="AUTOCOMMIT")

    async def upgrade(self) -> None:
        """Brings the schema to this code's; safe where several processes start at once, and cheap where it is there.

        Raises StorageError where the database cannot be reached, or belongs to a newer Tramontane.
        """
        try:
            # In a thread, with connections of its own: migrations are synchronous, and nothing stops one halfway.
            await asyncio.to_thread(schema.upgrade, self._url)
        except DBAPIError as error:
            reason = censor(str(error.orig), self._url)
            raise StorageError(
                f"The database {describe(self._url)} cannot be used ({' '.join(reason.split())}): "
                "see that it is there and intact, and that TRAMONTANE_DATABASE_URL says how to reach it."
            ) from None

    async def is_ready(self) -> bool:
        """Whether the database answers and has this code's schema."""
        try:
            async with asyncio.timeout(_READY_WITHIN), self.read() as session:
                found = await session.scalars(text("SELECT version_num FROM alembic_version"))
                return found.all() == [schema.head()]
        except (StorageError, SQLAlchemyError, OSError):  # OSError: TimeoutError is one
            return False

    async def close(self) -> None:
        """Closes the connections; from now on nobody gets a session."""
        self._closed = True
        await self._readers.dispose()
        await self._writers.dispose()
        await asyncio.to_thread(self._threads.shutdown)
        self._threaded.dispose()

    def _turn(self) -> AbstractAsyncContextManager[object]:
        """SQLite has one writer at a time: those of one process queue here rather than for the file's lock."""
        return nullcontext() if self._turns is None else self._turns

    def _run(self, function: Callable[[Connection], T]) -> T:
        with self._threaded.begin() as connection:
            return function(connection)

    def _session(self, engine: AsyncEngine) -> AsyncSession:
        if self._closed:  # SQLAlchemy would open it again
            raise StorageError("The database has been closed.")
        return AsyncSession(engine, expire_on_commit=False)


def _sqlite(url: URL) -> tuple[AsyncEngine, AsyncEngine, Engine]:
    url = url.set(drivername="sqlite+aiosqlite")
    readers = create_async_engine(url, connect_args=CONNECT_ARGS, hide_parameters=True)
    tell_connections(readers.sync_engine, "query_only=ON")
    begin_with(readers.sync_engine, "BEGIN")
    writers = create_async_engine(url, connect_args=CONNECT_ARGS, hide_parameters=True, pool_size=1, max_overflow=0)
    threaded = create_engine(url.set(drivername="sqlite"), connect_args=CONNECT_ARGS, hide_parameters=True)
    for engine in (writers.sync_engine, threaded):
        tell_connections(engine, "foreign_keys=ON")
        begin_with(engine, "BEGIN IMMEDIATE")
    return readers, writers, threaded


def _postgresql(url: URL) -> tuple[AsyncEngine, AsyncEngine, Engine]:
    # pool_pre_ping: a server that was restarted costs nobody a request. hide_parameters: rows stay out of the logs.
    writers = create_async_engine(url, pool_pre_ping=True, hide_parameters=True)
    threaded = create_engine(url, connect_args=_NOTICE, hide_parameters=True)  # no ping: its owner tries again

    @event.listens_for(threaded, "connect")
    def _tell(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_WAIT)
        connection.commit()

    # Repeatable read: a reader sees one moment, as on SQLite.
    readers = writers.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return readers, writers, threaded
