"""What all tables share: the base class, ids, and times that know that they are UTC."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, MetaData
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """32 hex digits: 48 bits of milliseconds, then 80 random ones.

    Beginning with the time, new rows go to the end of an index rather than all over it, and ids sort by age. An id is
    no secret.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware in, aware (UTC) out, on SQLite as on PostgreSQL. A naive datetime is a ValueError."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite stores the digits of a datetime and not its zone, so they must be UTC's."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A naive datetime says no moment: give it a timezone.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """PostgreSQL answers in the zone of the connection, SQLite without any."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The base of every table. Constraints have names, by which a migration can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime}  # noqa: RUF012 (SQLAlchemy's own attribute)
