"""Statements below the ORM, on either database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import psycopg
from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    String,
    Table,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from tramontane.storage.base import Base


def table_of(model: type[Base]) -> Table:
    """The table whose rows a class describes."""
    return cast(Table, model.__table__)


UPSERTING: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""By dialect, the `insert` that has `on_conflict_do_nothing` and `on_conflict_do_update`.

Any: the two are of one shape and have no type in common.
"""


def upserting(connection: Connection | AsyncConnection) -> Any:
    """The `insert` of the connection's database."""
    return UPSERTING[connection.dialect.name]


def among(dialect: str, column: Column[Any], parameter: str) -> ColumnElement[bool]:
    """Whether a column is one of a list, whose length is no part of the statement; for `Prepared`."""
    if dialect == "sqlite":
        listed = func.json_each(bindparam(parameter, type_=JSON)).table_valued("value")
        return column.in_(select(listed.c.value))
    return column == any_(bindparam(parameter, type_=ARRAY(String)))


class Prepared:
    """A statement that is compiled once. SQLAlchemy's own way of running one takes longer than the database's work.

    For the few that each request needs; to be used within `driver_errors`.
    """

    def __init__(self, make: Callable[[str], Any], keys: Collection[str] = ()) -> None:
        """`make` gives the statement for a dialect; `keys` are the columns that it sets."""
        self._make, self._keys = make, keys
        self._compiled: dict[str, _Compiled] = {}

    def write(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Once for each row."""
        if not rows:
            return
        compiled = self._for(connection)
        cursor = connection.connection.cursor()
        if len(rows) == 1:  # quicker than a list of one
            cursor.execute(compiled.text, compiled.parameters(rows[0]))
        else:
            cursor.executemany(compiled.text, [compiled.parameters(row) for row in rows])
        cursor.close()

    def read(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that it answers with."""
        compiled = self._for(connection)
        cursor = connection.connection.cursor()
        cursor.execute(compiled.text, compiled.parameters(values))
        rows = [compiled.row(row) for row in cursor.fetchall()]
        cursor.close()
        return rows

    def _for(self, connection: Connection) -> _Compiled:
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.driver)
        if compiled is None:
            made = self._make(dialect.name)
            compiled = self._compiled[dialect.driver] = _Compiled(made, dialect, self._keys)
        return compiled


class _Compiled:
    """Its text, and how values go in and come out."""

    def __init__(self, statement: Any, dialect: Dialect, keys: Collection[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(keys) or None)
        self.text = str(compiled)
        self._order = compiled.positiontup
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self._constants = {name: bind.value for name, bind in binds.items() if bind.value is not None}
        self._into = {name: into for name, bind in binds.items() if (into := _bind_processor(bind.type, dialect))}
        columns = getattr(statement, "exported_columns", ())
        out = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._out = [(position, processor) for position, processor in enumerate(out) if processor is not None]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        given = {**self._constants, **values}
        for name, into in self._into.items():
            given[name] = into(given[name])
        return given if self._order is None else [given[name] for name in self._order]

    def row(self, row: Sequence[Any]) -> tuple[Any, ...]:
        if not self._out:
            return tuple(row)
        changed = list(row)
        for position, out in self._out:
            changed[position] = out(changed[position])
        return tuple(changed)


def _bind_processor(of: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return of.dialect_impl(dialect).bind_processor(dialect)


@contextmanager
def driver_errors(connection: Connection) -> Iterator[None]:
    """What the driver raises in the block is raised as SQLAlchemy would."""
    driver = cast(Any, connection.dialect).loaded_dbapi.Error
    try:
        yield
    except driver as error:
        is_lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
        wrapped = DBAPIError.instance(None, None, error, driver, True, is_lost, dialect=connection.dialect)
        if is_lost:
            connection.invalidate(error)
        raise wrapped from error


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """PostgreSQL is sent the statements of the block one after the other, and their answers are awaited once, at its
    end: half a dozen journeys become one. Nothing may be read in it."""
    driver = connection.connection.driver_connection
    with driver.pipeline() if isinstance(driver, psycopg.Connection) else nullcontext():
        yield
