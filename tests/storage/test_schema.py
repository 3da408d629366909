"""Migrations: they make what the code describes, once, whole, and only forwards."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

import tramontane.billing.tables
import tramontane.catalogue.tables
import tramontane.conversations.tables  # noqa: F401 (these and those of accounts belong to the metadata)
from tests.storage.pairs import pairs, write_pair
from tests.storage.places import Place
from tests.storage.processes import answers, go, start
from tramontane.storage import schema
from tramontane.storage.base import Base
from tramontane.storage.database import Database
from tramontane.storage.errors import StorageError
from tramontane.storage.location import locate


def _tables(place: Place) -> set[str]:
    engine = create_engine(locate(place.url, place.home))
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def test_the_migrated_schema_is_what_the_code_describes(place: Place) -> None:
    place.run(Database.is_ready)
    engine = create_engine(locate(place.url, place.home))
    with engine.connect() as connection:
        # Full-text indexes are of a kind that the metadata has no words for: searches tell whether they are right.
        options = {"include_name": lambda name, kind, parents: not (name or "").startswith("fts_")}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
        described = {
            table.name: {str(check.name) for check in table.constraints if type(check).__name__ == "CheckConstraint"}
            for table in Base.metadata.tables.values()
        }
        for name, checks in described.items():  # Alembic compares no checks
            assert {check["name"] for check in inspect(connection).get_check_constraints(name)} == checks
    engine.dispose()


def test_a_role_that_nobody_knows_is_refused_by_the_database(place: Place) -> None:
    async def scenario(db: Database) -> None:
        await write_pair(db, 1)
        with pytest.raises(DBAPIError, match="ck_memberships_role"):
            async with db.write() as session:
                await session.execute(
                    text(
                        "INSERT INTO memberships (user_id, organisation_id, role) "
                        "SELECT users.id, organisations.id, 'emperor' FROM users, organisations"
                    )
                )

    place.run(scenario)


def test_processes_that_start_at_once(place: Place) -> None:
    processes = [start("tests.storage.program_upgrade", *place.arguments()) for _ in range(2)]
    go(*processes)
    answers(*processes)
    assert place.run(Database.is_ready, upgrade=False)


def test_upgrades_at_once_in_one_process(place: Place, tmp_path: Path) -> None:
    async def main() -> None:
        homes = [tmp_path / str(number) for number in range(8)]
        for home in homes:
            home.mkdir()
        dbs = [place.open(), place.open(), *(Database.open(None, home) for home in homes)]
        await asyncio.gather(*(db.upgrade() for db in dbs))
        assert all(await asyncio.gather(*(db.is_ready() for db in dbs)))
        await asyncio.gather(*(db.close() for db in dbs))

    asyncio.run(main())


def test_a_sqlite_upgrade_keeps_other_processes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many that change to WAL at once, a few in a thousand are told that the database is locked."""
    step = f"import fcntl, os; fcntl.flock(os.open({str(tmp_path)!r}, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    _migrations(tmp_path / "migrations", monkeypatch, [step])
    with pytest.raises(BlockingIOError):
        Place(None, tmp_path).run(Database.is_ready)


def test_a_newer_database_is_refused_and_left_alone(place: Place) -> None:
    async def scenario(db: Database) -> None:
        await write_pair(db, 1)
        async with db.write() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StorageError, match=r"'9999' of a newer Tramontane.*install the newer version"):
            await db.upgrade()
        assert not await db.is_ready()
        assert await pairs(db) == [1]

    place.run(scenario)


def test_an_upgrade_is_whole_or_not_at_all(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _migrations(tmp_path / "migrations", monkeypatch, ["op.execute('CREATE TABLE one (id INTEGER)')", "1 / 0"])
    with pytest.raises(ZeroDivisionError):
        place.run(Database.is_ready)
    assert _tables(place) == set()


def test_an_upgrade_that_breaks_references_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite: foreign keys are off while tables are built anew, so they are checked at the end."""
    steps = [
        "op.execute('CREATE TABLE one (id INTEGER PRIMARY KEY)')",
        "op.execute('CREATE TABLE two (one INTEGER REFERENCES one(id))'); op.execute('INSERT INTO two VALUES (1)')",
    ]
    _migrations(tmp_path / "migrations", monkeypatch, steps)
    place = Place(None, tmp_path)
    with pytest.raises(StorageError, match="nothing was changed"):
        place.run(Database.is_ready)
    assert _tables(place) == set()


def test_an_upgrade_leaves_logging_as_it_was(place: Place) -> None:
    def state() -> object:
        loggers = [logging.getLogger(name) for name in (None, "alembic", "sqlalchemy.engine", "tests.canary")]
        return [(logger.level, logger.disabled, list(logger.handlers), logger.propagate) for logger in loggers]

    before = state()
    place.run(Database.is_ready)
    assert state() == before


def _migrations(folder: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]) -> None:
    """Other migrations than ours, one a step."""
    (folder / "versions").mkdir(parents=True)
    env = Path(schema.__file__).parent / "migrations" / "env.py"
    (folder / "env.py").write_text(env.read_text())
    for number, step in enumerate(steps):
        before = f"'{number - 1}'" if number else None
        (folder / "versions" / f"{number}.py").write_text(
            f"from alembic import op\nrevision, down_revision = '{number}', {before}\ndef upgrade():\n    {step}\n"
        )

    def config() -> Config:
        made = Config()
        made.set_main_option("script_location", str(folder))
        return made

    monkeypatch.setattr(schema, "_config", config)
