"""The model that comes with the package, so that a first answer needs no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tramontane.catalogue.store import LocalModel

BUNDLED_MODEL = "brise"
"""Its name, and what is served where no model was named."""

BUNDLED_FOLDER = Path(__file__).parent / "bundled" / BUNDLED_MODEL
"""Weights, tokenizer, card and training record, in the HF layout; it is a package's data, and never written to."""


def bundled_model() -> LocalModel:
    """What there is to say of it, from its training record."""
    record = _record()
    return LocalModel(
        name=BUNDLED_MODEL,
        folder=BUNDLED_FOLDER,
        num_bytes=sum(path.stat().st_size for path in BUNDLED_FOLDER.iterdir()),
        layout="hf",
        dtype="bfloat16",
        parameters=record["model"]["parameters"],
        licence=record["model"]["licence"],
        revision=record["model"]["version"],
        pulled_at=None,
    )


def bundled_context() -> int:
    """Tokens that prompt and answer may have together."""
    return int(_record()["model"]["context_tokens"])


def _record() -> dict[str, Any]:
    record: dict[str, Any] = json.loads((BUNDLED_FOLDER / "training_record.json").read_text(encoding="utf-8"))
    return record
