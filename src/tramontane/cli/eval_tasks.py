"""`tramontane eval --tasks`: tasks of lm-eval on a model of this machine, through its own engine."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tramontane.cli.asking import whole_choice
from tramontane.cli.models_loading import loading_bars
from tramontane.cli.terminal import notes, plain, tell
from tramontane.engine.request import LONGEST_STOP, MAX_STOPS
from tramontane.errors import TramontaneError
from tramontane.evaluation.asking import Writing
from tramontane.evaluation.lm_eval_tasks import Figure, TaskResults, Tasks
from tramontane.gateway.answers import Choice
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import Source
from tramontane.gateway.requests import Continuation, Generation, Sampling


def run_tasks(
    source: Source, options: LocalOptions, names: str, include_path: Path | None, limit: int | None, as_json: bool
) -> None:
    """Loads the tasks, then the model; prints what was measured."""
    if not source.has_output_head:
        raise TramontaneError(f"{source.name} has no output head: it is a model for embeddings and cannot write.")
    named = [name for part in names.split(",") if (name := part.strip())]
    if not named:
        raise TramontaneError("--tasks names no task; write them as arc_easy,hellaswag.")
    with contextlib.redirect_stdout(sys.stderr):  # lm-eval and its tasks print as they please
        tasks = Tasks(named, include_path)
        results = _measure(tasks, source, options, limit)
    tell(results.notes)
    if as_json:
        print(json.dumps({"model": source.name, "limit": limit, **results.as_json()}, ensure_ascii=False))
    else:
        Console().print(_table(source.name, results.figures))


def _measure(tasks: Tasks, source: Source, options: LocalOptions, limit: int | None) -> TaskResults:
    provider = LocalProvider([source], options)
    with loading_bars() as report:
        tell(provider.load(report))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, transient=True) as bar:
            asking = bar.add_task("Asking", total=None)
            return tasks.run(
                LocalWriter(provider, source),
                limit,
                lambda done, total: bar.update(asking, completed=done, total=total),
            )
    finally:
        provider.close()


class LocalWriter:
    """A model of the local provider, by its tokens."""

    def __init__(self, provider: LocalProvider, source: Source) -> None:
        self.max_context = provider.cards()[0].max_context
        self.bos_id = source.tokenizer.bos_id
        self._provider, self._source, self._serial = provider, source, 0

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without <s>."""
        return self._source.tokenizer.encode(text)

    async def score(self, tokens: Sequence[int]) -> list[tuple[float, bool]]:
        """Of each token but the first: its log-probability, and whether it was the best."""
        choice = await self._choice(tokens, Sampling(temperature=0, max_tokens=1, prompt_logprobs=1))
        return [(score.logprob, score.id == score.top[0].id) for score in choice.prompt_scores or []]

    async def write(self, tokens: Sequence[int], writing: Writing) -> str:
        """What comes after the tokens; of more stop strings than the engine takes, it sees the first."""
        sampling = Sampling(
            temperature=writing.temperature,
            top_p=writing.top_p,
            top_k=writing.top_k,
            max_tokens=writing.max_tokens,
            stop=tuple(stop for stop in writing.stop if len(stop) <= LONGEST_STOP)[:MAX_STOPS],
            seed=writing.seed,
        )
        return (await self._choice(tokens, sampling)).text

    async def _choice(self, tokens: Sequence[int], sampling: Sampling) -> Choice:
        self._serial += 1
        generation = Generation(f"task-{self._serial}", Continuation(tuple(tokens)), sampling)
        return await whole_choice(self._provider, self._source.name, generation)


def _table(name: str, figures: list[Figure]) -> Table:
    table = Table(title=f"{plain(name)}: tasks of lm-eval", title_justify="left")
    for heading in ("task", "measure", "filter"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "±", "shots", "asked"):
        table.add_column(heading, justify="right")
    for one in figures:
        numbers = ["–" if value is None else f"{value:.4g}" for value in (one.value, one.error)]
        counts = ["–" if count is None else str(count) for count in (one.num_fewshot, one.samples)]
        table.add_row(plain(one.task), plain(one.measure), plain(one.filter), *numbers, *counts)
    return table
