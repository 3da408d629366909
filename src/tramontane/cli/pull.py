"""`tramontane pull`: a model from the hub to this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tramontane.catalogue.references import parse_reference
from tramontane.catalogue.store import ModelStore
from tramontane.cli.licences import require_licence
from tramontane.cli.terminal import notes, plain
from tramontane.errors import TramontaneError
from tramontane.storage.home import home_folder


def pull(
    reference: Annotated[str, typer.Argument(metavar="REF", help="A short name of the family, or owner/name.")],
    revision: Annotated[str, typer.Option(help="A branch, a tag or a commit.")] = "main",
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Its licence was read; asked for where one has to be accepted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object that describes the model.")] = False,
) -> None:
    """Download a model, or go on with an interrupted download.

    HF_ENDPOINT names another hub than huggingface.co; HF_TOKEN is sent where a model asks for it.

    Example: [bold]tramontane pull open-mistral-7b[/]
    """
    from tramontane.catalogue import hub  # its HTTP client is slow to import, and no other command needs it

    home = home_folder()
    repository = parse_reference(reference, home).repository
    if repository is None:
        raise TramontaneError(f"{reference} is nothing to download; name a model of the hub, as owner/name.")
    require_licence(repository, home, accept_licence)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=notes) as bars:
        model = hub.pull(repository, ModelStore(home), revision=revision, progress=_Bars(bars))
    if as_json:
        print(json.dumps({**asdict(model), "folder": str(model.folder)}))
    else:
        print(f"{model.name} is in {model.folder}")


class _Bars:
    """A bar for each file, and sentences above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def say(self, sentence: str) -> None:
        notes.print(plain(sentence), markup=False, highlight=False)

    def expect(self, total: int) -> None:
        """Each file has a bar of its own, and the sum was said."""

    def update(self, path: str, total: int, done: int) -> None:
        if path not in self._tasks:  # begins with what an earlier run brought, which is not this run's speed
            self._tasks[path] = self._bars.add_task(path, total=total, completed=done)
        self._bars.update(self._tasks[path], completed=done)
