"""Tiny random checkpoints of every tier, and a model run over them step by step, without an engine.

The checkpoints are written by transformers (layout hf) or converted from that by `save_checkpoint` (layout native);
the fp8 ones have no counterpart in transformers on a CPU, so their dequantised copy is what transformers runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.model.test_checkpoint import TIERS, dequantised, edit_config, edit_weights, make_wrapper, save_hf, to_fp8
from tramontane.engine.attention import Batch, Prepare, SequenceSlice, reference
from tramontane.engine.kv_cache import KVCache, layer_groups
from tramontane.model.checkpoint import Checkpoint
from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig, MoEConfig, YarnConfig
from tramontane.model.layouts import Layout
from tramontane.model.transformer import Transformer

_WEIGHTS: dict[Layout, str] = {"hf": "model.safetensors", "native": "consolidated.safetensors"}
_SCALE: dict[Layout, str] = {"hf": "weight_scale_inv", "native": "qscale_weight"}
_FP8_FIELD: dict[Layout, dict[str, object]] = {
    "hf": {"quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}},
    "native": {"quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}},
}

#: (tier, layout) of every checkpoint that `make_checkpoint` can make.
CHECKPOINTS: list[tuple[str, Layout]] = [
    *((tier, layout) for tier in (*TIERS, "fp8") for layout in ("hf", "native")),  # type: ignore[misc]
    ("vision", "hf"),  # an image model's text half
]

_TINY = ModelConfig(64, 4, 4, 2, 16, 96, 128, max_context=256)
#: Shapes without a checkpoint, for what needs none of transformers; int4 can serve them all.
CONFIGS: dict[str, ModelConfig] = {
    "dense": _TINY,
    "windows": ModelConfig(64, 4, 4, 2, 16, 96, 128, max_context=256, windows=(5,) * 4),
    "interleaved": ModelConfig(64, 4, 4, 2, 16, 96, 128, max_context=256, windows=(None, 5) * 2),
    "moe": ModelConfig(64, 3, 4, 1, 16, 64, 128, max_context=256, moe=MoEConfig(4, 2)),
    "tied": ModelConfig(64, 2, 8, 2, 16, 96, 128, max_context=256, tied_embeddings=True),
    "yarn": ModelConfig(
        64, 2, 4, 4, 32, 96, 128, max_context=256, yarn=YarnConfig(16.0, 16), query_scale_beta=0.1,
        query_scale_original=16,
    ),
}  # fmt: skip


@dataclass
class Made:
    """A checkpoint in `folder`, and what transformers makes of the same weights."""

    folder: Path
    theirs: transformers.PreTrainedModel

    def expected(self, prompt: list[int]) -> torch.Tensor:
        """The logits [T, vocab] that transformers computes for a prompt, in float32."""
        with torch.no_grad():
            return self.theirs(torch.tensor([prompt])).logits[0]


def make_checkpoint(tier: str, layout: Layout, folder: Path) -> Made:
    """Writes the checkpoint under `folder`."""
    original = folder / "hf"
    if tier == "vision":
        theirs = make_wrapper()
        theirs.save_pretrained(original)
        return Made(original, theirs)
    theirs = save_hf("dense" if tier == "fp8" else tier, original)
    made = original
    if layout == "native":
        made = folder / "native"
        checkpoint = Checkpoint.open(original)
        save_checkpoint(made, checkpoint.config, checkpoint.read, "native", torch.float32)
    return _as_fp8(made, layout, folder) if tier == "fp8" else Made(made, theirs)


def _as_fp8(made: Path, layout: Layout, folder: Path) -> Made:
    """Rounds a checkpoint's matrices to FP8, and gives transformers the copy that those numbers stand for."""
    weights, plain = made / _WEIGHTS[layout], folder / "plain"
    edit_weights(weights, lambda stored: to_fp8(stored, _SCALE[layout], "qscale_act", ()))
    shutil.copytree(made, plain)
    save_file(dequantised(load_file(weights), _SCALE[layout]), plain / weights.name, metadata={"format": "pt"})
    edit_config(made, **_FP8_FIELD[layout])
    if layout == "native":
        checkpoint = Checkpoint.open(plain)
        plain = folder / "plain-hf"
        save_checkpoint(plain, checkpoint.config, checkpoint.read, "hf", torch.float32)
    return Made(made, AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).eval())


def make_prompt(length: int, vocab_size: int, seed: int = 0) -> list[int]:
    """Random tokens."""
    return torch.randint(vocab_size, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.inference_mode()
def run(
    model: Transformer,
    prompts: list[list[int]],
    chunk: int | None = None,
    *,
    prepare: Prepare = reference,
    block_size: int = 16,
) -> list[torch.Tensor]:
    """Logits [T, vocab] of each prompt; all in one ragged batch, in steps of at most `chunk` tokens of each.

    Blocks come from one shuffled pool, so that no sequence's neighbours in memory are its own.
    """
    groups = layer_groups(model.config, model.config.max_context)
    needed = [-(-len(prompt) // block_size) for prompt in prompts]
    num_blocks = sum(needed) * len(groups)
    cache = KVCache(model.config, groups, num_blocks, block_size, model.dtype, model.device)
    pool: Iterator[int] = iter(np.random.default_rng(0).permutation(num_blocks).tolist())
    tables = [[list(islice(pool, blocks)) for _ in groups] for blocks in needed]
    logits: list[list[torch.Tensor]] = [[] for _ in prompts]
    done = [0] * len(prompts)
    while any(map(int.__lt__, done, map(len, prompts))):
        slices, owners, tokens, positions = [], [], [], []
        for owner, prompt in enumerate(prompts):
            new = prompt[done[owner] : None if chunk is None else done[owner] + chunk]
            if not new:
                continue
            slices.append(SequenceSlice(len(tokens), len(new), done[owner], tables[owner]))
            owners.append(owner)
            tokens += new
            positions += range(done[owner], done[owner] + len(new))
            done[owner] += len(new)
        batch = Batch(torch.tensor(tokens), torch.tensor(positions), slices, block_size)
        scores = model.logits(model(batch.tokens, batch.positions, prepare(cache, batch)))
        for owner, piece in zip(owners, slices, strict=True):
            logits[owner].append(scores[piece.start : piece.start + piece.num_new])
    return [torch.cat(parts) for parts in logits]


def worst_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of two sets of logits, in standard deviations of the expected ones."""
    return ((actual.double() - expected.double()).abs().max() / expected.double().std()).item()


def typical_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The root mean square difference of two sets of logits, in standard deviations of the expected ones."""
    return ((actual.double() - expected.double()).square().mean().sqrt() / expected.double().std()).item()


def int4_values(quantized: torch.Tensor, scales_and_zeros: torch.Tensor) -> torch.Tensor:
    """The weights [out, in] that int4 numbers stand for, in float64."""
    scale, zero = scales_and_zeros.double().permute(2, 1, 0).unbind(0)  # [out, groups] each
    groups = quantized.double().unflatten(1, (scale.shape[1], -1))
    return ((groups - 8) * scale[..., None] + zero[..., None]).flatten(1)
