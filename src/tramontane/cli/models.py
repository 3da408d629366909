"""`tramontane models`: what is on this machine, and what its servers serve."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tramontane.catalogue.bundled import bundled_model
from tramontane.catalogue.running import RunningServer, running_servers
from tramontane.catalogue.store import LocalModel, ModelStore
from tramontane.cli.terminal import plain
from tramontane.storage.home import home_folder


def models(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the models on this machine, and what running servers serve.

    Example: [bold]tramontane models[/]
    """
    home = home_folder()
    local, servers = [bundled_model(), *ModelStore(home).list()], running_servers(home)
    if as_json:
        found = {
            "models": [{**asdict(model), "folder": str(model.folder)} for model in local],
            "servers": [asdict(server) for server in servers],
        }
        print(json.dumps(found))
        return
    console = Console()
    console.print(_table_of_models(local))
    if len(local) == 1:
        console.print(
            "brise comes with the package; `tramontane pull open-mistral-7b` fetches another.", highlight=False
        )
    if servers:
        console.print(_table_of_servers(servers))


def _table_of_models(local: list[LocalModel]) -> Table:
    table = Table(title="On this machine", title_justify="left", title_style="bold")
    for heading in ("model", "on disk", "parameters", "weights", "licence", "commit"):
        table.add_column(heading, justify="right" if heading in ("on disk", "parameters") else "left")
    for model in local:
        table.add_row(
            model.name,
            f"{model.num_bytes / 1e9:,.2f} GB",
            _count(model.parameters),
            f"{model.layout}, {model.dtype}" if model.layout else "?",
            Text(plain(model.licence or "?")),
            (model.revision or "?")[:12],
        )
    return table


def _count(parameters: int | None) -> str:
    if parameters is None:
        return "?"
    return f"{parameters / 1e6:,.1f} M" if parameters < 1e8 else f"{parameters / 1e9:,.2f} B"


def _table_of_servers(servers: list[RunningServer]) -> Table:
    table = Table("address", "serves", title="Running servers", title_justify="left", title_style="bold")
    for server in servers:
        table.add_row(server.url, Text(plain(", ".join(server.models))))
    return table
