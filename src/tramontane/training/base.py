"""The model that a run goes on from: its shape, its weights, its tokenizer, and what is known of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tramontane.model.checkpoint import Checkpoint
from tramontane.model.config import ModelConfig
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import RecipeError, TrainingError
from tramontane.training.export import RECORD, digest


@dataclass(frozen=True)
class Base:
    """A checkpoint with its tokenizer, in one folder. Raises TramontaneError for what this trainer cannot train."""

    folder: Path

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Its configuration and its weights, unread."""
        return Checkpoint.open(self.folder)

    @property
    def config(self) -> ModelConfig:
        """Its shape."""
        return self.checkpoint.config

    @cached_property
    def tokenizer_file(self) -> Path:
        """Its tokenizer's file."""
        path = self.folder / "tekken.json"
        if not path.exists():
            raise TrainingError(f"{self.folder} has no tekken.json, the one kind of tokenizer that training knows.")
        return path

    def check(self, longest: int) -> None:
        """Whether sequences of so many tokens can be learnt."""
        if not self.checkpoint.has_output_head:
            raise TrainingError(f"{self.folder} makes embeddings and has no head to write with; give another base.")
        Tokenizer.from_file(self.tokenizer_file).check_fits(self.config.vocab_size)
        if self.config.moe is not None:
            raise TrainingError(f"{self.folder} is a mixture of experts, which this trainer does not train.")
        if longest > self.config.max_context:
            raise RecipeError(
                f"stage.sequence_length {longest:,} exceeds the context of {self.folder}, "
                f"{self.config.max_context:,} tokens; shorten the stage's sequences."
            )
        if any(window is not None and window < longest for window in self.config.windows):
            raise TrainingError(
                f"{self.folder} attends through windows, which this trainer has not: keep stages' sequences within "
                f"{min(window for window in self.config.windows if window)} tokens."
            )

    def described(self) -> dict[str, Any]:
        """What a run keeps of it: its name, the digest of its weights, its record."""
        return {"name": self.name, "digest": self.digest, "record": self.record}

    @cached_property
    def name(self) -> str:
        """What its record calls it, with the version; without a record the folder's name."""
        model = self.record.get("model", {})
        return f"{model['name']} {model['version']}" if "name" in model and "version" in model else self.folder.name

    @cached_property
    def record(self) -> dict[str, Any]:
        """Its own training record as it stands, or nothing."""
        try:
            found = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its weights: of the one file, or of the digests of several."""
        digests = [digest(path) for path in sorted(self.folder.glob("*.safetensors"))]
        if len(digests) == 1:
            return digests[0]
        return f"sha256:{hashlib.sha256(' '.join(digests).encode()).hexdigest()}"
