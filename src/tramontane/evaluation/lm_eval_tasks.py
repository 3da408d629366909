"""Tasks of EleutherAI's lm-eval, on any model that a `Writer` speaks for: lm-eval is an extra, and imported late.

Nothing is downloaded but the data of a task that is on the hub, and no program ever is: where a task's metric is one,
the task is refused.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import logging
import math
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tramontane.errors import TramontaneError
from tramontane.evaluation.asking import Writer
from tramontane.evaluation.running import Progress

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

_NEEDED = "Tasks need the package lm-eval, which is not installed: run `pip install 'lm-eval>=0.4.13,<0.5'`."

# lm-eval's own, so that the same examples are drawn; its figures have always been measured so.
_EXAMPLES_SEED = 1234
_UNVERSIONED = ("None", "N/A", "Yaml")
_RESAMPLES = 1000  # for the error of measures that have no formula for it


@dataclass(frozen=True)
class Figure:
    """What one measure of a task came to. `filter`: how lm-eval read the answers, "none" where it took them whole."""

    task: str
    measure: str
    filter: str
    value: float | None
    error: float | None  # standard error
    samples: int | None
    num_fewshot: int | None
    version: str | None  # of the task's definition


@dataclass
class TaskResults:
    """The figures, and what the user should know of how they came about."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For programs: each figure with the version of lm-eval that judged."""
        version = importlib.metadata.version("lm_eval")
        return {"lm_eval": version, "figures": [asdict(figure) for figure in self.figures]}


class Tasks:
    """Tasks that were found and whose data is there."""

    def __init__(self, names: Sequence[str], include_path: Path | None = None) -> None:
        """Loads them; raises TramontaneError where lm-eval, a task or its data is missing."""
        with _no_foreign_programs() as refused:
            from lm_eval.tasks import TaskManager

            if include_path is not None and not include_path.is_dir():
                raise TramontaneError(f"There is no folder {include_path} with tasks.")
            manager = TaskManager(include_path=include_path)
            self._loaded: dict[str, dict[str, Any]] = {"tasks": {}, "groups": {}, "group_map": {}}
            for name in dict.fromkeys(found for asked in names for found in _find(manager, asked)):
                self._add(name, _load(manager, name, refused))

    def run(self, writer: Writer, limit: int | None = None, progress: Progress = lambda *_: None) -> TaskResults:
        """Runs them all; `limit`: on so many questions of each task."""
        from lm_eval.evaluator import evaluate

        from tramontane.evaluation.lm_eval_model import LmEvalModel

        model = LmEvalModel(writer, progress)
        random.seed(0)  # of the shuffles that some tasks do
        np.random.seed(_EXAMPLES_SEED)
        with _no_foreign_programs():
            judged = evaluate(model, self._loaded, limit=limit, bootstrap_iters=_RESAMPLES, log_samples=False)
        results = TaskResults(_figures(judged))
        if model.num_cut:
            results.notes.append(f"{model.num_cut} prompts were longer than the context and lost their beginning.")
        if model.ignored:
            results.notes.append(f"Tasks set {', '.join(sorted(model.ignored))}, which had no effect.")
        return results

    def _add(self, name: str, loaded: dict[str, dict[str, Any]]) -> None:
        for task, one in loaded["tasks"].items():
            if task in self._loaded["tasks"]:
                raise TramontaneError(f"The task {task} is asked for twice, the second time by {name!r}: name it once.")
            if getattr(one, "UNSAFE_CODE", False):
                raise TramontaneError(f"The task {task} runs programs that a model wrote: Tramontane does not.")
            if getattr(one, "MULTIMODAL", False):
                raise TramontaneError(f"The task {task} shows images, and the engine reads text only.")
            if one.get_config("num_fewshot") is None:
                one.set_config(key="num_fewshot", value=0)
            one.set_fewshot_seed(seed=_EXAMPLES_SEED)
        for kind, entries in self._loaded.items():
            entries.update(loaded.get(kind, {}))


def _find(manager: TaskManager, name: str) -> list[str]:
    """The names that lm-eval knows for a name, a pattern such as `mmlu_*`, or a file."""
    if name in manager.task_index or (name.endswith((".yaml", ".yml")) and Path(name).is_file()):
        return [name]
    if any(sign in name for sign in "*?[") and (found := sorted(manager.match_tasks([name]))):
        return found
    near = difflib.get_close_matches(name, manager.all_tasks, 3)
    hint = f"the nearest are {', '.join(near)}" if near else "--include-path names a folder with tasks of your own"
    raise TramontaneError(f"lm-eval knows no task {name!r}; {hint}.")


def _load(manager: TaskManager, name: str, refused: list[str]) -> dict[str, dict[str, Any]]:
    """The task or group with its data."""
    try:
        loaded: dict[str, dict[str, Any]] = manager.load([name])
    except TramontaneError:
        raise
    except Exception as error:  # of a dozen libraries: hub, files, templates, the task's own code
        if refused:  # what came of it, perhaps
            raise _refusal(refused[0]) from error
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise TramontaneError(f"The task {name} or its data cannot be loaded: {reason[:300]}") from error
    if refused:  # lm-eval goes on without a metric that it did not get
        raise _refusal(refused[0])
    return loaded


def _figures(judged: dict[str, Any]) -> list[Figure]:
    figures = []
    for task, values in judged["results"].items():
        for key, value in values.items():
            measure, comma, kind = key.partition(",")
            if not comma or measure.endswith("_stderr"):
                continue
            figures.append(
                Figure(
                    task=task,
                    measure=measure,
                    filter=kind,
                    value=_number(value),
                    error=_number(values.get(f"{measure}_stderr,{kind}")),
                    samples=judged["n-samples"].get(task, {}).get("effective", values.get("sample_len")),
                    num_fewshot=judged["n-shot"].get(task),
                    version=None if (version := str(judged["versions"].get(task))) in _UNVERSIONED else version,
                )
            )
    return figures


def _number(value: object) -> float | None:
    """lm-eval writes "N/A" where there is none; JSON has no NaN."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


# ── what lm-eval may not do ─────────────────────────────────────────────────────────────────────────────────────────


def _refusal(program: str) -> TramontaneError:
    return TramontaneError(
        f"The task needs the metric {program!r}, a program that the library `evaluate` would download and run: "
        "Tramontane does not."
    )


@contextlib.contextmanager
def _no_foreign_programs() -> Iterator[list[str]]:
    """While it lasts, metrics that are programs are refused, and noted; nobody counts which data is read.

    `evaluate` asks nobody before it runs what it has downloaded; `datasets` has stopped to run anything.
    """
    refused: list[str] = []

    def refuse(path: str, *_: object, **__: object) -> None:
        refused.append(path)
        raise _refusal(path)

    try:
        importlib.import_module("lm_eval")
    except ModuleNotFoundError as error:
        raise TramontaneError(_NEEDED) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of each default that it takes
    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # else it forks a process that has an engine in it
    data: Any = importlib.import_module("datasets.config")
    metrics: Any = importlib.import_module("evaluate.loading")
    counted, load = data.HF_UPDATE_DOWNLOAD_COUNTS, metrics.evaluation_module_factory
    data.HF_UPDATE_DOWNLOAD_COUNTS, metrics.evaluation_module_factory = False, refuse
    try:
        yield refused
    finally:
        data.HF_UPDATE_DOWNLOAD_COUNTS, metrics.evaluation_module_factory = counted, load
