"""`tramontane train`: a model from raw text, by a recipe; stopped and resumed at will."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tramontane.cli.model_options import find_device
from tramontane.cli.terminal import notes
from tramontane.cli.train_display import Display

_EVALUATION_MEMORY = 1 << 30  # bytes for keys and values


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A .toml file, or the name of a bundled recipe.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME if not given.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop after a step: tokenizer, corpus, or a stage.")] = None,
    stop_after_seconds: Annotated[float | None, typer.Option(min=1, help="Stop then, with a checkpoint.")] = None,
    finish_within_seconds: Annotated[
        float | None, typer.Option(min=1, help="Shorten all stages in proportion, so that the run ends by then.")
    ] = None,
    evaluate: Annotated[
        int, typer.Option(min=0, help="Questions of each task in each language for the finished model; 0: none.")
    ] = 20,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that draw samples; 0: none.")] = None,
) -> None:
    """Train a model: tokenizer, corpus, stages, a checkpoint to serve, its evaluation. The same command goes on.

    Example: [bold]tramontane train tiny --out runs/tiny[/]
    """
    from tramontane.training.feed import default_workers
    from tramontane.training.ranks import join_ranks
    from tramontane.training.recipe import read_recipe
    from tramontane.training.run import Run
    from tramontane.training.trainer import Control

    read = read_recipe(recipe)
    folder = out or Path("runs") / read.name
    resume = shlex.join(["tramontane", "train", recipe, "--out", str(folder)])
    stopper = _Stopper(stop_after_seconds)
    deadline = None if finish_within_seconds is None else time.monotonic() + finish_within_seconds
    control = Control(stopper.asked, resume, default_workers() if workers is None else workers, deadline)
    with Display(read, folder / "tokenizer" / "tekken.json") as display:
        run = Run(read, folder, display, control, join_ranks())
        finished = run.run(until)
    if finished and until is None and evaluate and run.ranks.leads:
        _evaluate(read.name, folder / "model", evaluate)
    if not finished:
        notes.print(f"Stopped, with a checkpoint. Go on with:\n  {resume}", markup=False, highlight=False)
        sys.exit(0 if stopper.in_time else 130)


def _evaluate(name: str, folder: Path, items: int) -> None:
    """Asks the finished model the held-out questions; the figures go into its card and its record."""
    from tramontane.cli.eval import Asked, measure, write_figures
    from tramontane.gateway.providers.local.provider import LocalOptions
    from tramontane.gateway.providers.local.sources import open_folder

    held_out = folder.parent / "held_out"
    source, asked = open_folder(name, folder), Asked(items, texts=held_out if held_out.is_dir() else None)
    results = measure(source, asked, LocalOptions("none", find_device("auto"), _EVALUATION_MEMORY))
    write_figures(source, asked, results)
    notes.print(f"The figures are in {folder / 'README.md'}.", markup=False, highlight=False)


class _Stopper:
    """Ctrl-C, or the time: the step under way is finished and kept. A second Ctrl-C does not wait."""

    def __init__(self, seconds: float | None) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._interrupted = False
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._interrupt)

    @property
    def in_time(self) -> bool:
        return not self._interrupted

    def asked(self) -> bool:
        return self._interrupted or (self._deadline is not None and time.monotonic() > self._deadline)

    def _interrupt(self, *_: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        notes.print("Finishing the step; once more to leave without a checkpoint.", highlight=False)
