"""What a model of the family is made of: its shape, parsed once, typed, refused by the name of the bad field.

The dialects in which such a shape is stored: `config_native.py` (params.json) and `config_hf.py` (config.json).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tramontane.errors import CheckpointError

# Far above any model of the family: a number beyond these is a damaged or hostile file, not a shape.
_LARGEST = {
    "dim": 1 << 17,
    "num_layers": 1024,
    "num_heads": 1024,
    "num_kv_heads": 1024,
    "head_dim": 1 << 12,
    "ffn_dim": 1 << 20,
    "vocab_size": 1 << 22,
    "max_context": 1 << 30,
    "query_scale_original": 1 << 30,
    "num_experts": 256,
    "num_experts_per_tok": 256,
    "original_max_position_embeddings": 1 << 30,
}


@dataclass(frozen=True, slots=True)
class MoEConfig:
    """Sparse mixture of experts: each token goes to `num_experts_per_tok` of `num_experts`."""

    num_experts: int
    num_experts_per_tok: int

    def __post_init__(self) -> None:
        _check_sizes(self, "num_experts", "num_experts_per_tok")
        if self.num_experts_per_tok > self.num_experts:
            raise CheckpointError(
                f"num_experts_per_tok {self.num_experts_per_tok} is larger than num_experts {self.num_experts}; "
                "a token cannot visit more experts than there are."
            )


@dataclass(frozen=True, slots=True)
class YarnConfig:
    """YaRN context extension (arXiv:2309.00071).

    `beta_fast` and `beta_slow` are rotations over the original context: dimensions that turn more often than
    `beta_fast` keep their frequency, those that turn less often than `beta_slow` have it divided by `factor`.
    """

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    # Factor on cos and sin; the family's models ship with 1.0 (mscale == mscale_all_dim, or apply_scale false).
    attention_factor: float = 1.0
    # Whether the two bounds of the ramp between kept and divided dimensions are rounded outwards to whole dimensions.
    truncate: bool = True

    def __post_init__(self) -> None:
        _check_sizes(self, "original_max_position_embeddings")
        _check_positive(self, "factor", "beta_fast", "beta_slow", "attention_factor")
        if self.factor < 1.0:
            raise CheckpointError(f"yarn factor {self.factor} is below 1; it must stretch the context, not shrink it.")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One transformer of the Mistral family. Sizes are in elements, positions in tokens.

    Raises CheckpointError, naming the field, when the numbers do not make a model.
    """

    dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    max_context: int = 32_768
    tied_embeddings: bool = False
    # One entry a layer: how many last positions (itself included) a token sees; None sees everything. With window W
    # the token at position p sees p-W+1 … p, as in transformers and mistral-inference. Empty means None everywhere.
    windows: tuple[int | None, ...] = ()
    moe: MoEConfig | None = None
    yarn: YarnConfig | None = None
    # Queries are scaled by 1 + beta * log(1 + floor(position / original)); beta 0 turns it off.
    query_scale_beta: float = 0.0
    query_scale_original: int = 8192

    def __post_init__(self) -> None:
        _check_sizes(self, "dim", "num_layers", "num_heads", "num_kv_heads", "head_dim", "ffn_dim", "vocab_size")
        _check_sizes(self, "max_context", "query_scale_original")
        _check_positive(self, "norm_eps", "rope_theta")
        if self.rope_theta <= 1:
            raise CheckpointError(f"rope_theta {self.rope_theta} must be above 1; it is a base of frequencies.")
        if self.num_heads % self.num_kv_heads:
            raise CheckpointError(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}; "
                "each key-value head serves the same number of query heads."
            )
        if self.head_dim % 2:
            raise CheckpointError(f"head_dim {self.head_dim} is odd; rotary embeddings turn pairs of dimensions.")
        if not math.isfinite(self.query_scale_beta) or self.query_scale_beta < 0:
            raise CheckpointError(f"query_scale_beta {self.query_scale_beta} must be a number of at least 0.")
        self._fill_windows()

    def _fill_windows(self) -> None:
        if not self.windows:
            object.__setattr__(self, "windows", (None,) * self.num_layers)
        if len(self.windows) != self.num_layers:
            raise CheckpointError(
                f"windows has {len(self.windows)} entries for {self.num_layers} layers; give one entry a layer."
            )
        for window in self.windows:
            if window is not None and (type(window) is not int or window < 1):
                raise CheckpointError(f"windows holds {window!r}; an entry is a number of tokens above 0, or None.")


def _check_sizes(config: object, *names: str) -> None:
    """Each named field is an int between 1 and its largest credible value."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or not 1 <= value <= _LARGEST[name]:
            raise CheckpointError(f"{name} {value!r} must be a whole number between 1 and {_LARGEST[name]}.")


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise CheckpointError(f"{name} {value!r} must be a finite number above 0.")
