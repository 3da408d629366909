"""The models on this machine: `home/models/<owner>--<name>`, each folder whole or not there at all."""

from __future__ import annotations

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tramontane.catalogue.known import known_licence
from tramontane.catalogue.record import Record, read_record
from tramontane.catalogue.repositories import folder_name, repository_of
from tramontane.errors import TramontaneError


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on disk. What its record does not tell is None; `revision` is the commit, `pulled_at` ISO 8601 in UTC."""

    name: str
    folder: Path
    num_bytes: int
    layout: str | None
    dtype: str | None
    parameters: int | None
    licence: str | None
    revision: str | None
    pulled_at: str | None


class ModelStore:
    """The models under one home folder. Names of folders are made here, from checked names of repositories."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._models = home / "models"
        self._partial = self._models / ".partial"
        self._trash = self._models / ".trash"

    def list(self) -> list[LocalModel]:
        """Every model that is there, by name."""
        if not self._models.is_dir():
            return []
        named = ((repository_of(path.name), path) for path in self._models.iterdir())
        return sorted(
            (_describe(name, path) for name, path in named if name is not None and _is_real_folder(path)),
            key=lambda model: model.name,
        )

    def find(self, name: str) -> LocalModel | None:
        """The model called `owner/name`, or None."""
        folder = self.folder(name)
        return _describe(name, folder) if _is_real_folder(folder) else None

    def folder(self, name: str) -> Path:
        """Where the model called `owner/name` is, or would be; TramontaneError for a name that is none."""
        return self._models / folder_name(name)

    def delete(self, name: str) -> None:
        """Remove a model, and what an interrupted pull of it left: renamed out of sight first, so never seen in half.

        Raises TramontaneError when there is neither, and while the model is being pulled.
        """
        with self.lock(name):
            found = [path for path in (self.folder(name), self.partial(name)) if _is_real_folder(path)]
            if not found:
                raise TramontaneError(f"No model {name!r} is here; `tramontane models` lists those that are.")
            for path in found:
                self._discard(path)
        self._empty_trash()

    # ── for `pull` ─────────────────────────────────────────────────────────────────────────────────────────────────

    def partial(self, name: str) -> Path:
        """Where a pull gathers the files of a model until all are there."""
        return self._partial / folder_name(name)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held while a model is pulled or deleted; TramontaneError at once when another process holds it.

        The lock goes with the process that holds it, however that ends. Its file stays: removing it would be a race.
        """
        path = self._partial / f"{folder_name(name)}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TramontaneError(f"{name} is being pulled already; wait until that has ended.") from None
            yield

    def install(self, record: Record) -> LocalModel:
        """Make the gathered files the model: one rename, after which the record and every file are there."""
        gathered, target = self.partial(record.repository), self.folder(record.repository)
        _keep_only(gathered, {file.path for file in record.files})
        record.write(gathered)
        if target.exists() or target.is_symlink():
            self._discard(target)
        gathered.rename(target)
        self._empty_trash()
        return _describe(record.repository, target)

    def _discard(self, path: Path) -> None:
        self._trash.mkdir(exist_ok=True)
        path.rename(self._trash / f"{path.name}.{uuid.uuid4().hex}")

    def _empty_trash(self) -> None:
        # Not only what this process put there: one that was killed may have left something. Links are not followed.
        shutil.rmtree(self._trash, ignore_errors=True)


def _describe(name: str, folder: Path) -> LocalModel:
    record = read_record(folder)
    facts = record.facts if record else None
    return LocalModel(
        name=name,
        folder=folder,
        num_bytes=sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()),
        layout=facts.layout if facts else None,
        dtype=facts.dtype if facts else None,
        parameters=facts.parameters if facts else None,
        licence=(record.licence if record else None) or known_licence(name),
        revision=record.commit if record else None,
        pulled_at=record.pulled_at if record else None,
    )


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _keep_only(folder: Path, paths: set[str]) -> None:
    """Remove what an earlier pull, of another commit, has left beside the files of this one."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        if _is_real_folder(path):
            if not any(path.iterdir()):
                path.rmdir()
        elif str(path.relative_to(folder)) not in paths:
            path.unlink()
