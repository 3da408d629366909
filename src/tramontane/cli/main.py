"""The command `tramontane`: one module a command, each thin; the work is done in the rooms below."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from tramontane.cli.terminal import complain
from tramontane.errors import TramontaneError

_COMMANDS = ("serve", "chat", "generate", "pull", "deploy", "models", "route", "train", "bench", "doctor", "eval")


class _LazyCommands(TyperGroup):
    """Imports a command's module when the command is asked for: half of them need no PyTorch, which takes seconds."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"tramontane.cli.{cmd_name}")
        if hasattr(module, "cli"):  # a group of commands
            command = typer.main.get_command(module.cli)
            command.name = cmd_name
            return command
        alone = typer.Typer(rich_markup_mode="rich")
        alone.command(cmd_name)(getattr(module, cmd_name))
        return typer.main.get_command(alone)


cli = typer.Typer(
    name="tramontane",
    help="Run, serve, measure and own language models of the Mistral family.",
    cls=_LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@cli.callback()
def _group() -> None:
    """Makes it a group; its commands are found by name."""


def app() -> None:
    """Entry point: what went wrong is one sentence on standard error, and the exit status is 1."""
    try:
        cli()
    except TramontaneError as error:
        complain(error)
        sys.exit(1)
