"""Which database: what the user wrote, as the URL that SQLAlchemy wants."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from tramontane.storage.errors import StorageError

_ADVICE = "write sqlite:///folder/file.db or postgresql://user:password@host:5432/name."


def locate(url: str | None, home: Path) -> URL:
    """The database at `url`, or the file tramontane.db in `home`; drivers are named where the engine is made.

    An SQLite file is made where it is missing, empty and for its owner's eyes only. Raises StorageError.
    """
    if url is None:
        return _sqlite(home / "tramontane.db")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port; both may quote a password, so neither is shown
        raise StorageError(f"The database's URL cannot be read: {_ADVICE}") from None
    if parsed.drivername in ("postgresql", "postgres"):
        if "@" in f"{parsed.host}{parsed.database}":  # a piece of the password, which `describe` would show
            raise StorageError("The database's URL has more than one @: within a user or password write %40 for @.")
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database.startswith((":memory:", "file:")) or parsed.query or parsed.host:
            raise StorageError("An SQLite database has to be a plain file: write sqlite:///folder/file.db.")
        return _sqlite(Path(parsed.database).absolute())
    raise StorageError(f"A database of the kind {parsed.drivername!r} cannot be used: {_ADVICE}")


def describe(url: URL) -> str:
    """The database as a sentence may name it: without user, password or options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return f"{url.host or 'the local socket'}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def censor(text: str, url: URL) -> str:
    """`text`, which a driver wrote, without anything secret that the URL holds."""
    options = [value for name, value in url.query.items() if "password" in name]
    for secret in (url.password, *options):
        for word in (secret,) if isinstance(secret, str) else secret or ():
            text = text.replace(word, "***") if word else text
    return text


def _sqlite(path: Path) -> URL:
    try:
        # Only where it is missing: to close a file that SQLite has open would drop SQLite's locks on it. The files
        # that SQLite puts beside it (-wal, -shm) take its mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StorageError(
            f"The database file {path} cannot be made ({error.strerror}): choose a folder that exists and is yours."
        ) from error
    return URL.create("sqlite", database=str(path))
