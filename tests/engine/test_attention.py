"""The implementations of attention agree, over whatever slices, tables, windows and shapes a step may bring."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tramontane.engine.attention import Batch, Prepare, SequenceSlice, choose_attention, native, reference, sdpa
from tramontane.engine.attention.batch import first_visible
from tramontane.engine.attention.native import native_serves
from tramontane.engine.kv_cache import KVCache, layer_groups
from tramontane.engine.sequence import NO_BLOCK
from tramontane.model.config import ModelConfig
from tramontane.model.machine import this_machine

CONTEXT = 1024
BF16, CPU = torch.bfloat16, torch.device("cpu")

# float32: sums of some hundred products in another order, 1.3e-6 measured. float64: the same, 2^29 times smaller.
SDPA_BOUND = {torch.float32: 5e-6, torch.float64: 1e-13}


def model_of(
    num_heads: int, num_kv_heads: int, head_dim: int, windows: tuple[int | None, ...] = (None,)
) -> ModelConfig:
    return ModelConfig(
        64, len(windows), num_heads, num_kv_heads, head_dim, 64, 64, max_context=CONTEXT, windows=windows
    )


NATIVE_SERVES = native_serves(model_of(4, 2, 64), BF16, 16)
needs_native = pytest.mark.skipif(not NATIVE_SERVES, reason="the C attention needs AVX-512 BF16 and a C compiler")


# ── a step: its shapes from hypothesis, its numbers from a seed ────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True)
class Case:
    """What is attended to: a model's shape, and (tokens before the step, tokens in the step) of each sequence."""

    config: ModelConfig
    block_size: int
    slices: tuple[tuple[int, int], ...]
    seed: int = 0


@st.composite
def cases(draw: st.DrawFn, for_native: bool) -> Case:
    num_kv_heads = draw(st.integers(1, 3))
    ratio = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 48] if for_native else [1, 2, 3, 4]))
    head_dim = draw(st.sampled_from([64, 128, 256] if for_native else [2, 16, 40, 64]))
    window = draw(st.sampled_from([1, 2, 5, 16, 17, 63, 64, 65, 100]))
    windows = draw(st.sampled_from([(None,), (window,), (None, window), (window, window, None, window, window, None)]))
    single = st.tuples(st.integers(0, 300), st.just(1))
    chunk = st.tuples(st.one_of(st.just(0), st.integers(0, 200)), st.integers(2, 150))
    return Case(
        model_of(num_kv_heads * ratio, num_kv_heads, head_dim, windows),
        draw(st.sampled_from([16, 32, 48] if for_native else [1, 3, 16, 64])),
        tuple(draw(st.lists(st.one_of(single, chunk), min_size=1, max_size=6))),
        draw(st.integers(0, 10_000)),
    )


class Step:
    """A step over caches of any dtype: the same numbers each time, all of them exact in bfloat16.

    Blocks come from one shuffled pool. Every slot that no sequence may read holds NaN: blocks of nobody, what lies
    behind the last token of a block, and what follows a sequence's end where its table has a block too many. Blocks
    that fell out of a window are gone from the tables, as the scheduler leaves them.
    """

    def __init__(self, case: Case) -> None:
        config, size = case.config, case.block_size
        self.case, self.groups = case, layer_groups(config, CONTEXT)
        random = np.random.default_rng(case.seed)
        blocks = [-(-sum(piece) // size) + int(random.integers(0, 2)) for piece in case.slices]
        self.num_blocks = sum(blocks) * len(self.groups) + 3
        pool: Iterator[int] = iter((random.permutation(self.num_blocks - 1) + 1).tolist())  # block 0 is nobody's
        starts = np.cumsum([0, *(new for _, new in case.slices)])
        self.slices = [
            SequenceSlice(int(start), new, computed, [list(islice(pool, count)) for _ in self.groups])
            for start, (computed, new), count in zip(starts, case.slices, blocks, strict=False)
        ]
        self.whole = [[list(table) for table in piece.tables] for piece in self.slices]
        for piece in self.slices:
            for group, table in zip(self.groups, piece.tables, strict=True):
                unseen = first_visible(piece.num_computed, group.window) // size
                table[:unseen] = [NO_BLOCK] * unseen
        positions = [position for _, piece in self.pieces() for position in range(piece.num_computed, piece.num_total)]
        self.batch = Batch(torch.zeros(len(positions)), torch.tensor(positions), self.slices, size)
        generator = torch.Generator().manual_seed(case.seed)
        shape = (config.num_layers, len(positions), config.num_heads + 2 * config.num_kv_heads, config.head_dim)
        # Queries, keys and values of a token side by side, as the fused product gives them.
        self.qkv = torch.randn(shape, generator=generator).bfloat16()
        self.past = torch.randn(2, len(self.groups[0].layers), config.num_kv_heads, self.num_slots, config.head_dim,
                                generator=generator).bfloat16()  # fmt: skip

    @property
    def num_slots(self) -> int:
        return self.num_blocks * self.case.block_size

    def pieces(self) -> Iterator[tuple[int, SequenceSlice]]:
        yield from enumerate(self.slices)

    def slot(self, sequence: int, group: int, position: int) -> int:
        block = self.whole[sequence][group][position // self.case.block_size]
        return block * self.case.block_size + position % self.case.block_size

    def cache(self, dtype: torch.dtype, finite: tuple[int, ...] = ()) -> KVCache:
        """Keys and values of the sequences' pasts, NaN elsewhere but in the slots `finite`."""
        cache = KVCache(self.case.config, self.groups, self.num_blocks, self.case.block_size, dtype, CPU)
        known = list(finite)
        for sequence, piece in self.pieces():
            for group, table in enumerate(piece.tables):
                first = table.count(NO_BLOCK) * self.case.block_size
                known += [self.slot(sequence, group, position) for position in range(first, piece.num_computed)]
        for tensor, past in ((cache.keys, self.past[0]), (cache.values, self.past[1])):
            tensor.fill_(torch.nan)
            tensor[:, :, known] = past[:, :, known].to(dtype)
        return cache

    def heads(self, layer: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        config = self.case.config
        q, k, v = self.qkv[layer].to(dtype).split((config.num_heads, config.num_kv_heads, config.num_kv_heads), 1)
        return q, k, v

    def attend(self, prepare: Prepare, cache: KVCache) -> list[torch.Tensor]:
        """The output [T, H, D] of each layer."""
        attend = prepare(cache, self.batch)
        return [attend(layer, *self.heads(layer, cache.keys.dtype)) for layer in range(self.case.config.num_layers)]

    def spread(self) -> list[torch.Tensor]:
        """Each layer's output if all values were positive: what relative rounding errors are relative to."""
        step = Step(self.case)
        step.past[1].abs_()
        step.qkv[:, :, -self.case.config.num_kv_heads :].abs_()
        return step.attend(reference, step.cache(torch.float32))


# ── the reference, by the definition ───────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=20)
@given(case=cases(for_native=False))
def test_reference_is_the_definition(case: Case) -> None:
    """softmax(q k / sqrt(D)) v over the last `window` positions, token by token, without tables."""
    step = Step(case)
    outputs = step.attend(reference, step.cache(torch.float64))
    config = case.config
    for sequence, piece in step.pieces():
        for layer in (0, config.num_layers - 1):
            q, k, v = step.heads(layer, torch.float64)
            group, index = next((g, s.layers.index(layer)) for g, s in enumerate(step.groups) if layer in s.layers)
            before = [step.slot(sequence, group, position) for position in range(piece.num_computed)]
            rows = slice(piece.start, piece.start + piece.num_new)
            keys = torch.cat([step.past[0][index][:, before].double().transpose(0, 1), k[rows]])  # [L, Hkv, D]
            values = torch.cat([step.past[1][index][:, before].double().transpose(0, 1), v[rows]])
            for token in {0, piece.num_new // 2, piece.num_new - 1}:
                last = piece.num_computed + token
                window = config.windows[layer]
                seen = range(0 if window is None else max(0, last - window + 1), last + 1)
                for head in range(config.num_heads):
                    kv_head = head * config.num_kv_heads // config.num_heads
                    query = q[piece.start + token, head]
                    weights = (keys[seen][:, kv_head] @ query / config.head_dim**0.5).softmax(0)
                    expected = weights @ values[seen][:, kv_head]
                    assert torch.allclose(outputs[layer][piece.start + token, head], expected, rtol=0, atol=1e-12)


# ── the others, by the reference ───────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=100)
@given(case=cases(for_native=False), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_sdpa_agrees_with_the_reference(case: Case, dtype: torch.dtype) -> None:
    step = Step(case)
    expected = step.attend(reference, step.cache(dtype))
    for ours, theirs in zip(step.attend(sdpa, step.cache(dtype, finite=(0,))), expected, strict=True):
        assert (ours - theirs).abs().max() < SDPA_BOUND[dtype]


@needs_native
@settings(deadline=None, max_examples=100)
@given(case=cases(for_native=True))
@example(case=Case(model_of(128, 1, 256), 16, ((0, 1), (70, 3))))  # as many heads a key as one tile has rows
@example(case=Case(model_of(96, 1, 64, (20,)), 16, ((500, 40),)))
@example(case=Case(model_of(32, 8, 128), 16, ((0, 300), (299, 1), (0, 1), (64, 64), (63, 1))))  # Mistral 7B
@example(case=Case(model_of(4, 4, 128, (None, 64)), 64, tuple((n, 1) for n in (0, 15, 16, 17, 62, 63, 64, 65, 128))))
def test_native_agrees_with_the_reference_up_to_bfloat16(case: Case) -> None:
    """Weights and results are rounded to bfloat16, 2^-8 of each at most; the rest is float32. Measured: 1.94 * 2^-8."""
    step = Step(case)
    expected = step.attend(reference, step.cache(torch.float32))
    for ours, theirs, spread in zip(step.attend(native, step.cache(BF16)), expected, step.spread(), strict=True):
        assert ours.dtype == BF16
        assert ((ours.float() - theirs).abs() <= spread * (2**-7 * 1.01)).all()


@needs_native
@settings(deadline=None, max_examples=20)
@given(case=cases(for_native=True), num_threads=st.sampled_from([1, 2, 3]))
def test_native_is_bitwise_the_same_alone_and_in_a_batch(case: Case, num_threads: int) -> None:
    step = Step(case)
    together = step.attend(native, step.cache(BF16))
    before = torch.get_num_threads()
    for _, piece in step.pieces():
        rows = slice(piece.start, piece.start + piece.num_new)
        alone = Step(case)
        alone.batch = Batch(
            step.batch.tokens[rows], step.batch.positions[rows], [dataclasses.replace(piece, start=0)], case.block_size
        )
        alone.qkv = step.qkv[:, rows]
        torch.set_num_threads(num_threads)
        try:
            result = alone.attend(native, alone.cache(BF16))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(ours, theirs[rows]) for ours, theirs in zip(result, together, strict=True))


@needs_native
def test_native_keeps_nothing_of_an_earlier_step() -> None:
    """Its scratch memory is not cleared; a step that computed with NaN must not reach the next."""
    case = Case(model_of(4, 2, 64), 16, ((0, 1), (20, 1), (3, 9)))
    step, broken = Step(case), Step(dataclasses.replace(case, slices=((0, 128),)))
    expected = step.attend(native, step.cache(BF16))
    broken.qkv.fill_(torch.nan)
    assert all(output.isnan().all() for output in broken.attend(native, broken.cache(BF16)))
    assert all(map(torch.equal, step.attend(native, step.cache(BF16)), expected))


@pytest.mark.parametrize(
    "prepare", [pytest.param(reference), pytest.param(sdpa), pytest.param(native, marks=needs_native)]
)
@settings(deadline=None, max_examples=25)
@given(case=cases(for_native=True))
def test_new_keys_and_values_are_written_to_their_slots_and_nowhere_else(prepare: Prepare, case: Case) -> None:
    step = Step(case)
    cache, expected = step.cache(BF16), step.cache(BF16)
    step.attend(prepare, cache)
    for layer, (group, index) in cache.place.items():
        _, k, v = step.heads(layer, BF16)
        for sequence, piece in step.pieces():
            rows = slice(piece.start, piece.start + piece.num_new)
            slots = [step.slot(sequence, group, p) for p in range(piece.num_computed, piece.num_total)]
            expected.keys[index][:, slots] = k[rows].transpose(0, 1)
            expected.values[index][:, slots] = v[rows].transpose(0, 1)
    for ours, theirs in ((cache.keys, expected.keys), (cache.values, expected.values)):
        assert torch.equal(ours.view(torch.int16), theirs.view(torch.int16))  # NaN included


def test_sdpa_padding_reads_nothing_of_others() -> None:
    step = Step(Case(model_of(2, 1, 16), 16, ((3, 1), (30, 1))))
    assert all(output.isfinite().all() for output in step.attend(sdpa, step.cache(torch.float32)))


@settings(deadline=None, max_examples=25)
@given(case=cases(for_native=False), data=st.data())
def test_a_prompt_in_chunks_gives_what_it_gives_at_once(case: Case, data: st.DataObject) -> None:
    """The cache that one step leaves is the past of the next."""
    total = data.draw(st.integers(2, 120))
    step = Step(dataclasses.replace(case, slices=((0, total),)))
    (whole,) = step.slices
    at_once = step.attend(reference, step.cache(torch.float64))
    for prepare in (reference, sdpa):
        cache, done, parts = step.cache(torch.float64, finite=(0,)), 0, []
        while done < total:
            new = data.draw(st.integers(1, total - done))
            piece = SequenceSlice(0, new, done, whole.tables)
            chunk = Step(step.case)
            chunk.batch = Batch(torch.zeros(new), torch.arange(done, done + new), [piece], case.block_size)
            chunk.qkv = step.qkv[:, done : done + new]
            parts.append(chunk.attend(prepare, cache))
            done += new
        for layer, expected in enumerate(at_once):
            result = torch.cat([part[layer] for part in parts])
            assert (result - expected).abs().max() < SDPA_BOUND[torch.float64]


# ── which one serves ───────────────────────────────────────────────────────────────────────────────────────────────


@needs_native
@pytest.mark.parametrize("head_dim", [64, 128, 256])
def test_native_is_chosen_for_what_it_serves(head_dim: int) -> None:
    config = model_of(8, 2, head_dim)
    assert choose_attention(config, CPU, BF16, 16) is native
    assert choose_attention(config, torch.device("cuda"), BF16, 16) is sdpa
    assert choose_attention(config, CPU, torch.float32, 16) is sdpa
    assert choose_attention(config, CPU, BF16, 8) is sdpa
    assert choose_attention(model_of(8, 2, 80), CPU, BF16, 16) is sdpa
    assert choose_attention(model_of(129, 1, head_dim), CPU, BF16, 16) is sdpa


def test_sdpa_is_chosen_where_the_c_code_cannot_run() -> None:
    if "avx512_bf16" in this_machine().instructions:
        pytest.skip("this machine can run it")
    assert choose_attention(model_of(8, 2, 64), CPU, BF16, 16) is sdpa
