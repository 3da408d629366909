"""Licences that have to be accepted: asked for at the terminal, and kept."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from pathlib import Path

import typer

from tramontane.catalogue import licences
from tramontane.catalogue.family import FamilyModel, find
from tramontane.cli.terminal import notes, plain
from tramontane.errors import NotAllowedError, TramontaneError
from tramontane.storage.database import Database


def accept_or_refuse(sentence: str) -> None:
    """Asks whoever sits at the terminal; raises TramontaneError where nobody does, or they decline."""
    if not sys.stdin.isatty():
        raise TramontaneError(f"{sentence} Give --accept-licence to say that it was read and is accepted.")
    notes.print(plain(sentence), markup=False, highlight=False)
    if not typer.confirm("Do you accept this licence?", err=True):
        raise TramontaneError("Nothing was done: the licence was not accepted.")


def require_licence(repository: str, home: Path, accepted: bool) -> None:
    """Before a model is pulled: raises TramontaneError where its licence has to be accepted, and is not."""
    model = find(repository)
    if model is not None and model.licence.needs_acceptance:
        asyncio.run(_require(model, home, accepted))


async def _require(model: FamilyModel, home: Path, accepted: bool) -> None:
    database = Database.open(os.environ.get("TRAMONTANE_DATABASE_URL"), home)
    try:
        await database.upgrade()
        if not accepted:
            try:
                async with database.read() as session:
                    return await licences.require_accepted(session, model.name)
            except NotAllowedError:
                accept_or_refuse(licences.describe(model.licence, model.title))
        async with database.write() as session:  # who sits at the terminal of the server has no account there
            await licences.accept(session, model, f"{getpass.getuser()} (terminal)"[:32])
    finally:
        await database.close()
