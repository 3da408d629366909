"""The run's log: one JSON line a step, in step with the checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tramontane.training.files import replace_file


@dataclass(frozen=True)
class StepReport:
    """One step. `loss` is in nats a learnt token (weighted mean), `matrix_share` a share of the machine's own rate."""

    step: int
    stage: str
    tokens: int  # since the run began
    tokens_in_stage: int
    loss: float
    gradient_norm: float
    rate_factor: float
    tokens_per_second: float
    matrix_share: float
    wall_seconds: float


class Log:
    """`log.jsonl`, appended to. What came after the checkpoint that the run goes on from is taken out first."""

    def __init__(self, path: Path, last_step: int) -> None:
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= last_step]
        replace_file(path, lambda temporary: temporary.write_text("".join(kept), encoding="utf-8"))
        self._path = path

    def write(self, report: StepReport) -> None:
        """Appends a step. Raises OSError when the disk does not take it."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report)) + "\n")


def read_log(path: Path) -> list[StepReport]:
    """Every step that a log holds."""
    return [StepReport(**json.loads(line)) for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    """The whole lines of a log; one that a crash cut short is no line."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
