"""The command `tramontane`: one module a command, each thin; the work is done in the rooms below."""

from __future__ import annotations

import sys

import typer

from tramontane.cli import bench, doctor, generate
from tramontane.cli.terminal import complain
from tramontane.errors import TramontaneError

cli = typer.Typer(
    name="tramontane",
    help="Run, measure and own language models of the Mistral family.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
cli.command("generate")(generate.generate)
cli.command("doctor")(doctor.doctor)
cli.add_typer(bench.cli, name="bench")


def app() -> None:
    """Entry point: what went wrong is one sentence on standard error, and the exit status is 1."""
    try:
        cli()
    except TramontaneError as error:
        complain(error)
        sys.exit(1)
