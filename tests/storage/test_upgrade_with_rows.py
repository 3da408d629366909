"""An upgrade of a database that was in use: all rows of the oldest released schema are there afterwards, and work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, insert, select

from tests.storage.places import Place
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.secrets import digest, new_salt
from tramontane.accounts.tables import Organisation
from tramontane.storage import schema
from tramontane.storage.base import new_id
from tramontane.storage.database import Database
from tramontane.storage.location import locate

RELEASED = "0002"  # the schema of the last release
KEY = "tram_a-key-from-before-the-upgrade"


@pytest.fixture
def engine(place: Place) -> Any:
    made = create_engine(locate(place.url, place.home))
    yield made
    made.dispose()


def test_every_row_of_the_released_schema_outlives_the_upgrade(place: Place, engine: Engine) -> None:
    with engine.begin() as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, RELEASED)
    with engine.begin() as connection:
        tables = _tables(connection)
        first_organisation = _fill(connection, tables)
        before = {table.name: _rows(connection, table) for table in tables}
    assert all(len(rows) >= 2 or name == "installation" for name, rows in before.items() if name != "alembic_version")

    async def scenario(db: Database) -> None:
        principal = await Authenticator(db).by_key(KEY)
        assert principal is not None
        assert (principal.role, principal.is_operator, principal.scopes) == ("owner", True, None)
        async with db.read() as session:
            operators = (await session.scalars(select(Organisation.id).where(Organisation.is_operator))).all()
        assert operators == [first_organisation]

    place.run(scenario)
    with engine.connect() as connection:
        for table in tables:
            if table.name != "alembic_version":
                assert _rows(connection, table) == before[table.name], table.name


def _rows(connection: Connection, table: Table) -> Sequence[Any]:
    return connection.execute(select(table).order_by(*table.primary_key)).mappings().all()


def _tables(connection: Connection) -> list[Table]:
    """The tables as they are, those that others refer to first; without the full-text indexes' own."""
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: not name.startswith("fts_"))
    return metadata.sorted_tables


def _fill(connection: Connection, tables: list[Table]) -> str:
    """Two rows in each table, the later of which refers to the earlier ones; the first organisation's id."""
    rows: dict[str, list[dict[str, Any]]] = {}
    salt = new_salt()
    for number in (1, 2):
        for table in tables:
            if table.name == "alembic_version" or (table.name == "installation" and number == 2):
                continue
            row = {column.name: _value(column, number, rows) for column in table.columns if column.computed is None}
            if table.name == "installation":
                row = {"id": 1, "salt": salt}
            if table.name == "api_keys" and number == 1:
                row |= {"digest": digest(salt, KEY), "revoked_at": None, "expires_at": None}
            connection.execute(insert(table).values(row))
            rows.setdefault(table.name, []).append(row)
    first: str = rows["organisations"][0]["id"]
    return first


_WORDS = {"role": "owner", "author": "user", "state": "done", "email": None, "parent_id": None}


def _value(column: Any, number: int, rows: dict[str, list[dict[str, Any]]]) -> Any:
    if column.name in _WORDS:
        return _WORDS[column.name]
    for key in column.foreign_keys:
        return rows[key.column.table.name][number - 1][key.column.name]
    kind = column.type.python_type if column.type._type_affinity.__name__ != "JSON" else dict
    values: dict[type, Any] = {
        str: new_id()[: getattr(column.type, "length", None) or 32],
        int: number,
        float: 0.5,
        bool: True,
        bytes: b"\x00\xff",
        datetime: datetime.fromisoformat("2026-03-04T05:06:07.000008+00:00"),
        dict: {"a": [1, None]},
    }
    return values[kind]
