"""A run's checkpoints: everything that the next step depends on, so that a resumed run makes the very same weights.

A checkpoint is a folder, written under another name and renamed when it is whole on the disk; the last two are kept.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from tramontane.training.errors import TrainingError
from tramontane.training.files import flush, write_json
from tramontane.training.record import SampleRecord, StageRecord, from_json, to_json

_KEPT = 2


@dataclass
class RunState:
    """Where a run stands. `progress` is the share of the stage that is done; `position` is the feed's, one for each
    process that reads; `random` torch's state, in hex."""

    stage: int = 0
    step: int = 0  # of the whole run
    optimizer_steps: int = 0
    tokens_in_stage: int = 0
    steps_in_stage: int = 0
    progress: float = 0.0
    positions: list[int] = field(default_factory=lambda: [0])
    samples: list[SampleRecord] = field(default_factory=list)
    stages: list[StageRecord] = field(default_factory=list)
    wall_seconds: float = 0.0
    joules: float = 0.0
    random: str = ""

    def begin_stage(self, stage: int, shards: int) -> None:
        """The state before a stage's first step."""
        self.stage, self.tokens_in_stage, self.steps_in_stage, self.progress = stage, 0, 0, 0.0
        self.positions = [0] * shards


def save_state(folder: Path, state: RunState, tensors: dict[str, torch.Tensor], resume: str) -> Path:
    """Writes a checkpoint of the run in `folder`. Raises TrainingError when the disk does not take it.

    `resume` is the command that goes on from the last checkpoint; it is named in the error.
    """
    state.random = bytes(torch.get_rng_state().tolist()).hex()
    target, temporary = folder / f"{state.step:09d}", folder / f".{state.step:09d}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        # Through memory, and not by save_file: what it maps cannot report a full disk.
        (temporary / "state.safetensors").write_bytes(save({name: t.cpu().contiguous() for name, t in tensors.items()}))
        flush(temporary / "state.safetensors")
        write_json(temporary / "state.json", to_json(state))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        flush(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise TrainingError(
            f"The checkpoint of step {state.step} could not be written to {folder} ({error.strerror}); the last one is "
            f"intact: make room, then go on with: {resume}"
        ) from error
    for old in _checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_state(folder: Path) -> tuple[RunState, dict[str, torch.Tensor]] | None:
    """The last checkpoint, or None where there is none. Sets torch's random state. Raises TrainingError if damaged."""
    found = _checkpoints(folder)
    if not found:
        return None
    last = found[-1]
    try:
        state = from_json(RunState, json.loads((last / "state.json").read_text(encoding="utf-8")))
        tensors = load_file(last / "state.safetensors")
        torch.set_rng_state(torch.tensor(list(bytes.fromhex(state.random)), dtype=torch.uint8))
    except (OSError, RuntimeError, ValueError, TypeError, SafetensorError) as error:
        raise TrainingError(
            f"{last} is no whole checkpoint ({error}); remove it to go on from the one before."
        ) from error
    return state, tensors


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
