"""`tramontane route explain`: where a request would go, and why not elsewhere."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Select, or_, select

from tramontane.accounts.tables import Workspace
from tramontane.api.routing import explanation_body
from tramontane.api.schemas.catalogue import RouteExplanation
from tramontane.catalogue.directory import Directory
from tramontane.cli.terminal import notes, plain
from tramontane.errors import TramontaneError, UnknownModelError
from tramontane.gateway.dispatching import Explanation, unknown_model
from tramontane.gateway.policy import parse_policy
from tramontane.gateway.routing import plan, refusal
from tramontane.storage.base import now
from tramontane.storage.database import Database
from tramontane.storage.home import home_folder

cli = typer.Typer(help="Say where requests go.", no_args_is_help=True, rich_markup_mode="rich")


@cli.callback()
def _group() -> None:
    """Makes it a group; there is one command so far."""


@cli.command()
def explain(
    model: Annotated[str, typer.Argument(help="As clients ask for it.")],
    workspace: Annotated[str | None, typer.Option(help="Name or id; else the first one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say where a request for a model would go, in which order, and why not elsewhere.

    It reads the catalogue and the workspace's policy. What fails at present, and what is loaded, only the running
    server knows: GET /v1/route tells that as well.

    Example: [bold]tramontane route explain mistral-small-latest --workspace Legal[/]
    """
    explanation = asyncio.run(_explain(model, workspace))
    if as_json:
        print(explanation.model_dump_json())
        return
    Console().print(_table(explanation))
    if explanation.problem is not None:
        notes.print(plain(explanation.problem), style="bold", highlight=False)


async def _explain(model: str, workspace: str | None) -> RouteExplanation:
    database = Database.open(os.environ.get("TRAMONTANE_DATABASE_URL"), home_folder())
    try:
        await database.upgrade()
        async with database.read() as session:
            found = await session.scalar(_named(workspace))
        if found is None:
            wanted = "workspace" if workspace is None else f"workspace {workspace!r}"
            raise TramontaneError(f"There is no {wanted} here: start the server once, or name another.")
        directory = Directory(database)
        await directory.refresh()
    finally:
        await database.close()
    resolved = directory.resolve(model)
    offerings = directory.offerings(resolved.model)
    if not offerings:
        raise UnknownModelError(unknown_model(model, sorted({offering.model for offering in directory.all()})))
    made = plan(resolved, offerings, parse_policy(found.policy), now(), {}, {})
    return explanation_body(model, Explanation(resolved, made, refusal(resolved, made)))


def _named(workspace: str | None) -> Select[Workspace]:
    query = select(Workspace).where(Workspace.archived_at.is_(None)).order_by(Workspace.id).limit(1)
    return query if workspace is None else query.where(or_(Workspace.name == workspace, Workspace.id == workspace))


def _table(explanation: RouteExplanation) -> Table:
    means = "" if explanation.model == explanation.resolved else f" means {explanation.resolved}"
    table = Table(title=Text(plain(f"{explanation.model}{means}")), title_justify="left", title_style="bold")
    for heading in ("place", "provider", "region", "operator", "reason"):
        table.add_column(heading, overflow="fold")
    for one in explanation.considered:
        place = "—" if one.place is None else str(one.place)
        row = (place, one.provider_name, one.region or "not declared", one.operator, one.reason)
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table
