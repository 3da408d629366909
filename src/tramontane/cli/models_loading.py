"""What `serve` and `chat` share: models opened from what the user named, and bars that show them being loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tramontane.catalogue.references import Reference
from tramontane.cli.terminal import notes
from tramontane.errors import TramontaneError
from tramontane.gateway.providers.local.provider import Progress as Report
from tramontane.gateway.providers.local.sources import Source, open_reference


def open_sources(references: Sequence[Reference]) -> list[Source]:
    """The models, checked from their files' headers."""
    names = [reference.name for reference in references]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TramontaneError(f"Two models would be called {twice!r}: give one another name with --model name=folder.")
    return [open_reference(reference) for reference in references]


@contextmanager
def loading_bars() -> Iterator[Report]:
    """A function to be told how far each model has been loaded: it shows a bar for each."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=notes, transient=True) as bars:

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(f"Loading {name}", total=total)
            bars.update(tasks[name], completed=done)

        yield report
