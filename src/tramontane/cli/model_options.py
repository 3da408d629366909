"""What the commands that run a model share: options turned into things, and loading with a progress bar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tramontane.catalogue.references import Reference, parse_reference
from tramontane.cli.terminal import notes, tell
from tramontane.errors import TramontaneError
from tramontane.model.linear import Quantization
from tramontane.model.machine import best_device
from tramontane.model.weights import LoadedModel, load_model
from tramontane.storage.home import home_folder

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_size(text: str) -> int:
    """`4GiB`, `512 MiB`, `100000` → bytes."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        raise TramontaneError(f"{text!r} is not a size; write it as 4GiB or 512MiB.")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_quantization(text: str) -> Quantization:
    """One of the three, or a sentence."""
    for known in get_args(Quantization):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise TramontaneError(f"Quantization {text!r} is not known; choose none, int8 or int4.")


def find_model(text: str) -> Reference:
    """The model that a reference names, looked for in the user's home folder where it names no other."""
    return parse_reference(text, home_folder())


def find_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:1` → a device that is there."""
    if name == "auto":
        return best_device()
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise TramontaneError(f"There is no device {name!r} here; `tramontane doctor` says what there is.") from error


def load_with_progress(folder: Path, quantization: Quantization, device: torch.device) -> LoadedModel:
    """Loads a model with a progress bar, and passes on what the user should know."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True) as bar:
        task = bar.add_task("Loading the model", total=None)
        loaded = load_model(
            folder,
            quantization=quantization,
            device=device,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    tell(loaded.notices)
    return loaded
