"""Data files and recipes with them that the tests of this room share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.training.runs import RECIPE
from tramontane.training.recipe import DataRecipe

KNOWN = {"language": "fr", "licence": "ours", "origin": "our help desk", "obtained": "2026-11-24"}
ENTRY = '[[data]]\nname = "support"\nfile = "support.jsonl"\n' + "".join(f'{k} = "{v}"\n' for k, v in KNOWN.items())
WITH_DATA = RECIPE.replace("[[stage]]", f"{ENTRY}[[stage]]", 1).replace(
    "mix = { repeat = 1.0 }", "mix = { repeat = 1.0, support = 1.0 }"
)


def turn(question: str, answer: str, **others: Any) -> dict[str, Any]:
    """A line: a question and its answer."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **others}]}


def write_lines(path: Path, *lines: Any) -> Path:
    """Writes objects as JSON, and texts as they are."""
    written = (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return path


def data_recipe(path: Path, **changes: str) -> DataRecipe:
    return DataRecipe(**{"name": "support", "file": str(path), **KNOWN, **changes})
