"""Tiny random models in float64, where batched and alone agree to the last digit that matters, and how to drive them.

`attend_to_all` is attention without any cache: what an engine computes must equal a forward pass with it.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tramontane.engine.engine import Engine, EngineConfig
from tramontane.engine.kv_cache import block_bytes, layer_groups, max_tokens_that_fit
from tramontane.engine.request import FinishReason, Output, Request, SamplingParams, TokenLogprob
from tramontane.model.config import ModelConfig, MoEConfig
from tramontane.model.random_weights import RandomWeights
from tramontane.model.transformer import Attend, Transformer
from tramontane.model.weights import build_model

VOCAB = 61
WINDOW = 7
MODELS = ("dense", "windowed", "interleaved", "moe")


@functools.cache
def tiny_model(kind: str = "dense", vocab_size: int = VOCAB, max_context: int = 256) -> Transformer:
    """`dense`; `windowed`: every layer; `interleaved`: three windowed layers, then a full one; `moe`."""
    windows = {"windowed": (WINDOW, WINDOW), "interleaved": (WINDOW, WINDOW, WINDOW, None)}.get(kind, (None, None))
    config = ModelConfig(
        dim=16, num_layers=len(windows), num_heads=4, num_kv_heads=2, head_dim=4, ffn_dim=24, vocab_size=vocab_size,
        max_context=max_context, windows=windows, moe=MoEConfig(4, 2) if kind == "moe" else None,
    )  # fmt: skip
    return build_model(config, RandomWeights(config, seed=3, dtype=torch.float64).read, dtype=torch.float64).model


def ticking(seed: int = 0) -> Callable[[], float]:
    """A clock for the pacer that says something else at each look, and the same in each run."""
    rng, now = random.Random(seed), itertools.count()
    return lambda: next(now) + rng.random()


def make_config(
    model: Transformer,
    num_blocks: int | None = None,
    *,
    holds: int | None = None,
    block_size: int = 4,
    max_step_tokens: int = 512,
    max_sequences: int = 128,
    max_queue: int = 1024,
    spare_blocks: int = 0,
) -> EngineConfig:
    """A configuration by number of blocks, or with just the blocks that one sequence of `holds` tokens needs."""
    groups = layer_groups(model.config, model.config.max_context)
    if holds is not None:
        enough = (n for n in itertools.count(2 * len(groups))
                  if max_tokens_that_fit(groups, n, block_size, max_step_tokens) >= holds)  # fmt: skip
        num_blocks = next(enough) + spare_blocks
    size = block_bytes(model.config, groups, block_size, model.dtype)
    return EngineConfig(
        kv_memory_bytes=size * (1 << 14 if num_blocks is None else num_blocks),
        block_size=block_size,
        max_step_tokens=max_step_tokens,
        max_sequences=max_sequences,
        max_queue=max_queue,
    )


def greedy(max_tokens: int = 8, **others: object) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=max_tokens, **others)  # type: ignore[arg-type]


@dataclass
class Answer:
    """All outputs of one choice, put together."""

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprob] | None = None
    last: Output | None = None

    @property
    def reason(self) -> FinishReason | None:
        return None if self.last is None else self.last.finish_reason

    def add(self, output: Output) -> None:
        assert self.last is None, "an output came after the last one"
        self.tokens += output.token_ids
        self.text += output.text
        self.logprobs += output.logprobs or []
        if output.prompt_logprobs is not None:
            assert self.prompt_logprobs is None, "prompt log-probabilities came twice"
            self.prompt_logprobs = output.prompt_logprobs
        if output.finish_reason is not None:
            self.last = output
        else:
            assert output.usage is None


Answers = dict[tuple[str, int], Answer]


def add_outputs(answers: Answers, outputs: Iterable[Output]) -> None:
    for output in outputs:
        answers.setdefault((output.request_id, output.index), Answer()).add(output)


def steps(engine: Engine, answers: Answers, at_most: int = 5000) -> Iterator[None]:
    """Steps until nothing is left to do, the books balanced after each; yields between two steps."""
    for _ in range(at_most):
        if not engine.has_work:
            assert is_empty(engine), "blocks are held by nobody"
            return
        add_outputs(answers, engine.step())
        engine.check()
        yield
    raise AssertionError(f"still busy after {at_most} steps")


def run(engine: Engine, *requests: Request) -> Answers:
    """Submits all at once and steps to the end."""
    answers: Answers = {}
    for request in requests:
        engine.submit(request)
    for _ in steps(engine, answers):
        pass
    return answers


def answer(engine: Engine, prompt: Iterable[int], sampling: SamplingParams, **others: object) -> Answer:
    """The answer to one request."""
    return run(engine, Request("only", list(prompt), sampling, **others))["only", 0]  # type: ignore[arg-type]


def is_empty(engine: Engine) -> bool:
    """Whether no block is held."""
    return engine._pool.num_free == engine._pool.num_blocks


def held_blocks(engine: Engine, request_id: str) -> set[int]:
    """The blocks that the choices of a request hold now."""
    return {block for sequence in engine._live.get(request_id, []) for block in sequence.held_blocks()}


def tokens_of(seed: int, count: int, vocab_size: int = VOCAB) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(vocab_size) for _ in range(count)]


# ── without engine, cache or batch ──────────────────────────────────────────────────────────────────────────────────


def attend_to_all(config: ModelConfig) -> Attend:
    """Attention of one whole sequence to itself."""

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        repeats = config.num_heads // config.num_kv_heads
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        scores = torch.einsum("thd,lhd->htl", q, k) / math.sqrt(config.head_dim)
        at = torch.arange(q.shape[0])
        seen = at[None] <= at[:, None]
        window = config.windows[layer]
        if window is not None:
            seen &= at[None] > at[:, None] - window
        return torch.einsum("htl,lhd->thd", scores.masked_fill(~seen, -math.inf).softmax(-1), v)

    return attend


@torch.inference_mode()
def forward(model: Transformer, tokens: list[int]) -> Tensor:
    """Hidden states [T, dim] of a whole sequence at once."""
    return model(torch.tensor(tokens), torch.arange(len(tokens)), attend_to_all(model.config))  # type: ignore[no-any-return]


@torch.inference_mode()
def scores(model: Transformer, tokens: list[int]) -> Tensor:
    """Logits [T, vocab] of a whole sequence at once."""
    return model.logits(forward(model, tokens))


def greedy_tokens(model: Transformer, prompt: list[int], count: int) -> list[int]:
    """What the model says, by the whole sequence's forward pass for each token."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(scores(model, tokens)[-1].argmax()))
    return tokens[len(prompt) :]
