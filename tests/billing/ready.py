"""Databases that have their tables already: migrated once for each kind, and copied."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.storage.places import Place
from tests.storage.postgres import postgres_server
from tramontane.storage.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database with all tables."""
    return sqlite_place(tmp_path) if request.param == "sqlite" else postgresql_place(tmp_path)


def sqlite_place(home: Path) -> Place:
    """A file in `home`."""
    shutil.copy(_sqlite_template(), home / "tramontane.db")
    return Place(None, home)


def postgresql_place(home: Path) -> Place:
    """On the test run's own server."""
    server, name = postgres_server(), f"test_{uuid4().hex}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_postgresql_template()}")
    return Place(server.url(name), home)


@functools.cache
def _sqlite_template() -> Path:
    home = Path(tempfile.mkdtemp(prefix="tramontane-template-"))
    Place(None, home).run(Database.is_ready)
    return home / "tramontane.db"


@functools.cache
def _postgresql_template() -> str:
    url = postgres_server().new_database()
    Place(url, Path()).run(Database.is_ready)
    return url.partition("@/")[2].partition("?")[0]
