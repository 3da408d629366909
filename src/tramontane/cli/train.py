"""`tramontane train`: a model from raw text, by a recipe; stopped and resumed at will."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tramontane.cli.terminal import notes
from tramontane.cli.train_display import Display


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A .toml file, or the name of a bundled recipe.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME if not given.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop after a step: tokenizer, corpus, or a stage.")] = None,
    stop_after_seconds: Annotated[float | None, typer.Option(min=1, help="Stop then, with a checkpoint.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that draw samples; 0: none.")] = None,
) -> None:
    """Train a model: tokenizer, corpus, stages, and a checkpoint that can be served. The same command goes on.

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
    control = Control(stopper.asked, resume, default_workers() if workers is None else workers)
    with Display(read, folder / "tokenizer" / "tekken.json") as display:
        finished = Run(read, folder, display, control, join_ranks()).run(until)
    if not finished:
        notes.print(f"Stopped, with a checkpoint. Go on with:\n  {resume}", markup=False, highlight=False)
        sys.exit(0 if stopper.in_time else 130)


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
