"""Pulling a model: from a hub repository to a folder of the store, resumable, verified, and there at one stroke."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from functools import partial
from math import prod
from pathlib import Path
from typing import Protocol

from huggingface_hub import constants, hf_hub_url

from tramontane.catalogue.hub_errors import in_sentences
from tramontane.catalogue.record import Facts, Record, read_record
from tramontane.catalogue.release import Release, look_up
from tramontane.catalogue.selection import Selection, select_files
from tramontane.catalogue.store import LocalModel, ModelStore
from tramontane.catalogue.transfer import fetch_file, part_path
from tramontane.errors import CheckpointError, TramontaneError
from tramontane.model.config_hf import from_hf_config
from tramontane.model.config_native import from_params_json
from tramontane.model.fields import read_json_object

# The library would tell the hub which software is installed, and ask it for a list of agents to look for.
constants.HF_HUB_DISABLE_TELEMETRY = True

_SPARE_BYTES = 64 << 20  # so that a pull does not fill the disk to its last byte


class PullProgress(Protocol):
    """Who wants to know how a pull goes on."""

    def say(self, sentence: str) -> None:
        """What the user should know: the licence and size before the first byte, choices made, or that all is there."""

    def expect(self, total: int) -> None:
        """All files together have `total` bytes; called before the first of them is asked for."""

    def update(self, path: str, total: int, done: int) -> None:
        """Of a file's `total` bytes, `done` are there."""


def pull(
    repository: str,
    store: ModelStore,
    *,
    revision: str = "main",
    progress: PullProgress,
    endpoint: str | None = None,
) -> LocalModel:
    """Have a repository's model in the store, at the commit that `revision` names now.

    `endpoint` is the hub's address, else HF_ENDPOINT, else huggingface.co; HF_TOKEN is sent if it is set. Raises
    TramontaneError, in one sentence, for whatever went wrong; what has arrived by then is kept for the next pull.
    """
    endpoint = endpoint or constants.ENDPOINT
    with store.lock(repository), in_sentences(repository, revision, endpoint):
        release = look_up(repository, revision, endpoint)
        here, record = store.find(repository), read_record(store.folder(repository))
        if here and record and record.commit == release.commit and record.is_whole(here.folder):
            progress.say(f"{repository} is here already, at commit {release.commit[:12]}; nothing was downloaded.")
            return here
        selection = select_files(repository, release.files)
        folder = store.partial(repository)
        folder.mkdir(parents=True, exist_ok=True)
        _take_over(record, store.folder(repository), selection, folder)
        _check_room(repository, selection, folder)
        for sentence in _introduction(repository, release, selection):
            progress.say(sentence)
        progress.expect(selection.num_bytes)
        _fetch_all(repository, release.commit, selection, folder, endpoint, progress)
        facts = _examine(folder, progress)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return store.install(Record(repository, release.commit, release.licence, now, selection.files, facts))


def _introduction(repository: str, release: Release, selection: Selection) -> list[str]:
    licence = f"licence {release.licence}" if release.licence else "no licence named: read its README"
    size = f"{len(selection.files)} files, {selection.num_bytes / 1e9:,.2f} GB"
    return [f"{repository} at commit {release.commit[:12]}: {licence}; {size}.", *selection.notices]


def _take_over(record: Record | None, installed: Path, selection: Selection, folder: Path) -> None:
    """Files that the installed commit shares with the wanted one are linked, not downloaded, and verified alike."""
    shared = set(record.files) & set(selection.files) if record else set()
    for file in shared:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (installed / file.path).is_file() and not target.exists():
            try:
                os.link(installed / file.path, target)
            except OSError:
                return  # a file system without hard links: download


def _check_room(repository: str, selection: Selection, folder: Path) -> None:
    there = sum(
        path.stat().st_size
        for file in selection.files
        for path in (folder / file.path, part_path(folder, file))
        if path.is_file()
    )
    needed, free = selection.num_bytes - there + _SPARE_BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise TramontaneError(
            f"{repository} needs {needed / 1e9:,.1f} GB and the disk of {folder} has {free / 1e9:,.1f} GB free; "
            "make room, or set TRAMONTANE_HOME to a folder on another disk."
        )


def _fetch_all(
    repository: str, commit: str, selection: Selection, folder: Path, endpoint: str, progress: PullProgress
) -> None:
    """Weights come last: whether Tramontane can run the model is known before they are asked for."""
    for position, file in enumerate(selection.files):
        if position == selection.num_small:
            _check_config(repository, selection, folder)
        url = hf_hub_url(repository, file.path, revision=commit, endpoint=endpoint)
        fetch_file(url, file, folder, partial(progress.update, file.path, file.size))


def _check_config(repository: str, selection: Selection, folder: Path) -> None:
    """CheckpointError for an architecture or quantisation that the engine does not have."""
    raw, where = read_json_object(folder / selection.config), f"{repository}: {selection.config}"
    if selection.layout == "native":
        from_params_json(raw, where)
    else:
        from_hf_config(raw, where)


def _examine(folder: Path, progress: PullProgress) -> Facts | None:
    """What the headers tell. A checkpoint that cannot be opened is kept: it is what its publisher published."""
    from tramontane.model.checkpoint import Checkpoint  # torch takes seconds to import, and is not needed until here

    try:
        checkpoint = Checkpoint.open(folder)
    except CheckpointError as error:
        progress.say(f"All files are as published, but Tramontane cannot run them: {error}")
        return None
    parameters = sum(prod(checkpoint.shape(name)) for name in checkpoint.names())
    return Facts(checkpoint.layout, str(checkpoint.dtype).removeprefix("torch."), parameters)
