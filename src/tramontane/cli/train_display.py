"""What `tramontane train` shows: samples with what is learnt of them, and a bar with how it goes."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tramontane.cli.terminal import notes, plain

if TYPE_CHECKING:
    from tramontane.tokenizer.tokenizer import Tokenizer
    from tramontane.training.log import StepReport
    from tramontane.training.recipe import Recipe
    from tramontane.training.rendering import Document

_AVERAGED = 20  # steps
_SHOWN_TOKENS = 400


class Display:
    """A watcher for people. A context manager: the bar goes away with it."""

    def __init__(self, recipe: Recipe, tokenizer_file: Path) -> None:
        self._stages = {stage.name: stage.tokens for stage in recipe.stage}
        self._tokenizer_file = tokenizer_file
        self._tokenizer: Tokenizer | None = None
        self._last: deque[StepReport] = deque(maxlen=_AVERAGED)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[state]}"))
        self._bars = Progress(*columns, console=notes, refresh_per_second=2)
        self._task: TaskID | None = None

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, sentence: str) -> None:
        notes.print(plain(sentence), markup=False, highlight=False)

    def show(self, document: Document) -> None:
        from tramontane.tokenizer.tokenizer import Tokenizer

        if self._tokenizer is None:
            self._tokenizer = Tokenizer.from_file(self._tokenizer_file)
        notes.print(f"{document.origin}; what is learnt is marked, token by token:", style="dim", highlight=False)
        notes.print(marked(document, self._tokenizer), highlight=False)

    def step(self, report: StepReport) -> None:
        self._last.append(report)
        total = sum(self._stages.values())
        if self._task is None:
            self._task = self._bars.add_task("", total=total, state="")
        state = _state(list(self._last), total)
        self._bars.update(self._task, description=report.stage, completed=report.tokens, state=state)


def _state(last: list[StepReport], total: int) -> str:
    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    rate = len(last) / sum(1 / report.tokens_per_second for report in last)  # steps are of like size
    left = max(0.0, total - last[-1].tokens) / rate
    loss, share = mean([report.loss for report in last]), mean([report.matrix_share for report in last])
    hours, minutes = divmod(int(left / 60), 60)
    time = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(left % 60):02d} s"
    return f"loss {loss:.3f} · {rate:,.0f} tokens/s · {share:.0%} of matrix rate · {time} left"


def marked(document: Document, tokenizer: Tokenizer) -> Text:
    """A document's tokens, divided by thin lines; those with a loss in green, with their weight if it is not 1."""
    text = Text()
    for place, (token, weight) in enumerate(zip(document.tokens.tolist(), document.weights.tolist(), strict=True)):
        if place == _SHOWN_TOKENS:
            text.append(f" … and {len(document) - place} more", style="dim")
            break
        name = tokenizer.control_name(token) or tokenizer.token_bytes(token).decode("utf-8", "backslashreplace")
        learnt = weight != 0 and place > 0
        text.append(plain(name), style="bold green underline" if learnt else "")
        if learnt and weight != 1:
            text.append(f"×{weight:g}", style="green")
        text.append("│" if learnt else "·", style="dim green" if learnt else "dim")
    return text
