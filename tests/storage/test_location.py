"""Which URLs are understood, and what is said of the others."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import traceback
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.storage.postgres import postgres_server
from tramontane.storage.database import Database
from tramontane.storage.errors import StorageError
from tramontane.storage.location import locate

SECRET = "hunter2-canary"


def test_what_is_understood(tmp_path: Path) -> None:
    assert locate(None, tmp_path).database == str(tmp_path / "tramontane.db")
    assert locate(f"sqlite:///{tmp_path}/other.db", tmp_path).database == str(tmp_path / "other.db")
    for scheme in ("postgres", "postgresql"):
        url = locate(f"{scheme}://user:p%40s/s@host:5433/name?sslmode=require", tmp_path)
        assert url.drivername == "postgresql+psycopg"
        assert (url.username, url.password, url.host, url.port, url.database) == ("user", "p@s/s", "host", 5433, "name")
        assert url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://user:{SECRET}@host/name",
        f"postgresql+asyncpg://user:{SECRET}@host/name",
        f"postgresql://user:{SECRET}@host:port/name",
        f"postgresql://user:p@{SECRET}@host:5432/name",
        f"postgresql://us/er:{SECRET}@host:5432/name",
        f"sqlite:///:memory:?password={SECRET}",
        f"sqlite:///file:x?key={SECRET}",
        f"sqlite://{SECRET}@host/file.db",
        "sqlite://",
        SECRET,
        "",
    ],
)
def test_what_is_refused_is_refused_without_the_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as refusal:
        Database.open(url, tmp_path)
    assert "write " in str(refusal.value)
    assert SECRET not in _everything(refusal.value)


def test_an_unreachable_server_is_named_without_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    urls = [
        f"postgresql://user:{SECRET}@127.0.0.1:1/name",
        f"postgresql://user@127.0.0.1:1/name?password={SECRET}",
        f"postgresql://user:{SECRET}@127.0.0.1:1/name?no_such_option={SECRET}",
    ]
    for url in urls:
        with pytest.raises(StorageError, match=r"127\.0\.0\.1:1/name cannot be used") as refusal:
            asyncio.run(Database.open(url, tmp_path).upgrade())
        assert SECRET not in _everything(refusal.value) + caplog.text


def test_a_wrong_password_is_not_repeated(tmp_path: Path) -> None:
    url = postgres_server().url("postgres", password=SECRET)
    with pytest.raises(StorageError, match="password authentication failed") as refusal:
        asyncio.run(Database.open(url, tmp_path).upgrade())
    assert SECRET not in _everything(refusal.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"{tmp_path}/none/x.db cannot be made"):
        Database.open(f"sqlite:///{tmp_path}/none/x.db", tmp_path)


def test_odd_names_of_folders_are_only_names(tmp_path: Path) -> None:
    home = tmp_path / "100% ?a=b #c"
    home.mkdir()
    db = Database.open(None, home)
    asyncio.run(db.upgrade())
    assert (home / "tramontane.db").stat().st_size > 0


def test_the_files_are_their_owners_only(tmp_path: Path) -> None:
    async def main() -> list[int]:
        db = Database.open(None, tmp_path)
        await db.upgrade()
        async with db.read() as session:
            await session.execute(text("SELECT 1 FROM users"))  # so that the files beside it are there
            modes = [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()]
        await db.close()
        return modes

    umask = os.umask(0)
    try:
        assert asyncio.run(main()) == [0o600] * 3
    finally:
        os.umask(umask)


def _everything(error: BaseException) -> str:
    return repr(error) + "".join(traceback.format_exception(error))
