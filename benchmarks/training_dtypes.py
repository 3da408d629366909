"""How fast training's forward and backward pass is on this machine's CPU, in float32 and in bfloat16.

    python benchmarks/training_dtypes.py

Models of random weights with brise's vocabulary, 16 documents of 256 tokens, every token learnt; the median of `ROUNDS`
rounds, in which both dtypes take turns.
"""

from __future__ import annotations

import time
from statistics import median

import torch

from tramontane.model.config import ModelConfig
from tramontane.training.initial import initial_model
from tramontane.training.objective import weighted_loss
from tramontane.training.packing import pack
from tramontane.training.rendering import Document

ROUNDS, DOCUMENTS, LENGTH, ENTRIES = 7, 16, 256, 8192
SHAPES = ((64, 2, 2, 128), (128, 4, 2, 384), (256, 6, 2, 704), (384, 8, 2, 1024))  # dim, layers, KV heads, FFN
HEAD_DIM = {64: 16, 128: 32, 256: 64, 384: 64}


def main() -> None:
    """Prints a line for each shape."""
    cpu, generator = torch.device("cpu"), torch.Generator().manual_seed(1)
    documents = [
        Document(
            torch.randint(ENTRIES, (LENGTH,), generator=generator, dtype=torch.int32).numpy(),
            torch.ones(LENGTH).numpy(), "random", "none", str(place),
        )
        for place in range(DOCUMENTS)
    ]  # fmt: skip
    batch = pack(documents)
    for dim, layers, kv_heads, ffn_dim in SHAPES:
        config = ModelConfig(
            dim=dim, num_layers=layers, num_heads=dim // HEAD_DIM[dim], num_kv_heads=kv_heads, head_dim=HEAD_DIM[dim],
            ffn_dim=ffn_dim, vocab_size=ENTRIES, max_context=LENGTH, tied_embeddings=True,
        )  # fmt: skip
        models = {dtype: initial_model(config, 1, dtype, cpu) for dtype in (torch.float32, torch.bfloat16)}
        seconds: dict[torch.dtype, list[float]] = {dtype: [] for dtype in models}
        for _ in range(ROUNDS + 1):
            for dtype, model in models.items():
                start = time.perf_counter()
                weighted_loss(model, batch).backward()
                seconds[dtype].append(time.perf_counter() - start)
                model.zero_grad()
        # The first round warms up.
        exact, rounded = (DOCUMENTS * LENGTH / median(seconds[dtype][1:]) for dtype in models)
        print(f"{dim} dimensions, tokens/s: float32 {exact:,.0f}, bfloat16 {rounded:,.0f}, {rounded / exact:.2f} times")


if __name__ == "__main__":
    main()
