"""A private PostgreSQL from Debian's package, for the whole test run, and an empty database in it for each test."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

PASSWORD = "canary-postgres-password"


@dataclass(frozen=True)
class PostgresServer:
    """A running cluster, reached by a Unix socket in its own folder."""

    folder: Path

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://tramontane:{password}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """The URL of an empty database; it goes with the cluster."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@functools.cache  # more than one conftest has the fixture, and one cluster is enough
def postgres_server() -> PostgresServer:
    """Starts the cluster; it is stopped when the interpreter ends. Skips the test where there is no PostgreSQL."""
    binaries = _binaries()
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="tramontane-pg-"))
    (folder / "password").write_text(PASSWORD)
    if user:
        for path in (folder, folder / "password"):
            os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)

    def run(program: str, *arguments: str) -> None:
        command = [binaries / program, "-D", folder / "data", *arguments]
        with (folder / "output").open("a") as output:
            group, extra = (user, []) if user else (None, None)
            subprocess.run(
                command,
                check=True,
                cwd=folder,
                user=user,
                group=group,
                extra_groups=extra,
                stdout=output,
                stderr=output,
            )

    def stop() -> None:
        run("pg_ctl", "stop", "-m", "immediate")  # by the pid in the cluster's own pid file
        shutil.rmtree(folder)

    run("initdb", "-U", "tramontane", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync")
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
    run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", settings)
    atexit.register(stop)
    return PostgresServer(folder)


def _binaries() -> Path:
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return newest.parent
