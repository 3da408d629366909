"""KV memory is shared so that every model holds as many tokens, and nothing is left over that somebody could use."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from tramontane.gateway.providers.local.memory import memory_warning, share_kv_memory
from tramontane.gateway.providers.local.sources import Source, random_source

CPU = torch.device("cpu")
GIB = 2**30
TINY = random_source("tiny", "tiny-15m")


def shaped(layers: int, context: int) -> Source:
    config = replace(TINY.config, num_layers=layers, windows=(None,) * layers, max_context=context)
    return replace(TINY, config=config)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(64, 8192)), min_size=1, max_size=5), st.integers(1, 2**36))
def test_shares_are_fair_and_nothing_is_wasted(shapes: list[tuple[int, int]], total: int) -> None:
    sources = [shaped(*shape) for shape in shapes]
    shares = share_kv_memory(sources, total, None, CPU)
    assert sum(shares) <= total
    tokens = [share / layers for share, (layers, _) in zip(shares, shapes, strict=True)]
    sated = share_kv_memory(sources, 2**50, None, CPU)
    hungry = [number for number, share in enumerate(shares) if share < sated[number] - len(shapes)]
    if hungry:  # somebody could use more: all the memory is given, and nobody hungry has less than another
        assert sum(shares) >= total - len(shapes)
        assert max(tokens) - min(tokens[number] for number in hungry) <= 1 + max(tokens) * 1e-6


def test_a_large_model_is_not_starved_by_a_small_one_that_needs_little() -> None:
    small, large = share_kv_memory([shaped(6, 512), shaped(32, 8192)], 4 * GIB, None, CPU)
    assert small < GIB < large


def test_what_cannot_fit_is_said_before_it_is_loaded() -> None:
    assert memory_warning([TINY], GIB, "none", CPU) is None
    warning = memory_warning([random_source("large", "large-123b")], GIB, "none", CPU)
    assert warning is not None
    assert "--quantization int8" in warning
