"""`tramontane doctor`: what this machine has, and what will run on it."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import tramontane
from tramontane.engine.attention import choose_attention
from tramontane.engine.engine import EngineConfig
from tramontane.model import kernels, rows
from tramontane.model.family import shape
from tramontane.model.machine import GIB, best_device, best_dtype, this_machine


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say what this machine has, and what will be used on it.

    Example: [bold]tramontane doctor[/]
    """
    facts = examine()
    if as_json:
        print(json.dumps(facts))
        return
    console = Console()
    for title, facts_of_title in facts.items():
        table = Table(title=title, title_justify="left", show_header=False, title_style="bold")
        for name, value in facts_of_title.items():
            table.add_row(name.replace("_", " "), _text(name, value))
        console.print(table)


def examine() -> dict[str, dict[str, Any]]:
    """Facts found, and choices made from them."""
    device = best_device()
    dtype = best_dtype(device)
    used: dict[str, Any] = {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "attention": choose_attention(shape("mistral-7b"), device, dtype, EngineConfig().block_size).__name__,
    }
    if device.type == "cpu":
        most = kernels.int4_max_rows()
        used["compiled_code"] = _compiled_code()
        used["int8_kernel"] = kernels.int8_kernel()
        used["int4_kernel"] = (
            f"up to {most} {'row' if most == 1 else 'rows'}, int8 above"
            if most
            else "slower than int8 here: int8 in its place"
        )
    return {
        "found": asdict(this_machine()),
        "used": used,
        "software": {
            "tramontane": tramontane.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
    }


def _compiled_code() -> str:
    compiled = rows.library() is not None and kernels.few_rows_library() is not None
    return "norms, quantisation, products of few rows" if compiled else "none: without a compiler, PyTorch's"


def _text(name: str, value: object) -> str:
    if name == "memory_bytes" and isinstance(value, int):
        return f"{value / GIB:.1f} GiB"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
