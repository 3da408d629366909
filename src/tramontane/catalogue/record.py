"""`tramontane.json`: what a pulled model's folder says of itself, written when all files are verified."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "tramontane.json"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a release: its path in the repository, its bytes, and its digest.

    `digest` is `sha256:…` of the content for large files, `git:…` for small ones: the SHA-1 under which git keeps them.
    """

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the headers of the weights tell; `parameters` are those of the text model."""

    layout: str
    dtype: str
    parameters: int


@dataclass(frozen=True, slots=True)
class Record:
    """Where a model came from and what it holds; `facts` is None when Tramontane cannot run what was pulled."""

    repository: str
    commit: str
    licence: str | None
    pulled_at: str
    files: tuple[HubFile, ...]
    facts: Facts | None

    def write(self, folder: Path) -> None:
        """Write the record into the folder that it describes."""
        with (folder / FILE_NAME).open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
            file.flush()
            os.fsync(file.fileno())  # with the model in place and the record lost, the next pull would fetch it all

    def is_whole(self, folder: Path) -> bool:
        """Whether every file is there with its size; the content was verified when it came."""
        paths = [(folder / file.path, file.size) for file in self.files]
        return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def read_record(folder: Path) -> Record | None:
    """The record of a folder, or None when there is none or somebody has spoilt it."""
    try:
        fields: dict[str, Any] = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        fields["files"] = tuple(HubFile(**file) for file in fields["files"])
        fields["facts"] = Facts(**fields["facts"]) if fields["facts"] else None
        return Record(**fields)
    except (OSError, ValueError, KeyError, TypeError):
        return None
