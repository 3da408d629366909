"""One choice of a request while it lives: its tokens, how far it has been computed, and the blocks it holds."""

from __future__ import annotations

import time
from enum import Enum, auto
from random import Random

import torch
from torch import Tensor

from tramontane.engine.grammar import GrammarState
from tramontane.engine.prediction import PredictedText, Prediction
from tramontane.engine.prefix_cache import Prefix
from tramontane.engine.request import Request, SamplingParams, TokenLogprob
from tramontane.engine.text import TextStream

NO_BLOCK = -1  # in a table: fell out of the window, or was never needed


class Status(Enum):
    """Where a sequence stands."""

    WAITING = auto()
    RUNNING = auto()
    FINISHED = auto()


class Sequence:
    """Tokens, progress and memory of one choice.

    There is no prefill and no decoding: a sequence has `tokens`, of which `num_computed` are in the KV cache, and
    each step lets it catch up a little. When it has caught up, its next token is sampled.
    """

    def __init__(
        self,
        request: Request,
        index: int,
        num_groups: int,
        text: TextStream | None = None,
        grammar: GrammarState | None = None,
        leader: Sequence | None = None,
        predicted: PredictedText | None = None,
    ) -> None:
        self.request, self.index = request, index
        self.status = Status.WAITING
        self.tokens = list(request.prompt)
        self.num_prompt = len(self.tokens)
        self.num_computed = 0
        self.num_cached = 0  # prompt tokens that the prefix cache saved, at the first admission
        self.num_preemptions = 0
        self.arrived = time.perf_counter()
        self.started: float | None = None  # when it was first computed
        self.tables: list[list[int]] = [[] for _ in range(num_groups)]
        self.prefix: Prefix | None = None  # while running: the node of the last full block that was recorded
        self.num_recorded = 0  # blocks recorded in the prefix cache
        # Choices 2…n wait until the first has computed the prompt, and then find it in the prefix cache.
        self.leader = leader
        self.text, self.grammar = text, grammar
        self.random = _random(request.sampling, index)
        self.counts: dict[int, int] = {}  # generated tokens, for penalties
        # Prompt and generated tokens, where the repetition penalty asks for them.
        penalized = request.sampling is not None and request.sampling.repetition_penalty != 1
        self.seen: set[int] | None = set(self.tokens) if penalized else None
        self.prediction = None if predicted is None else Prediction(predicted)
        self.prompt_logprobs: list[TokenLogprob] = []
        self.pooled: Tensor | None = None  # sum of hidden states so far, float32 [dim]

    @property
    def sampling(self) -> SamplingParams:
        """The request's parameters; only for sampled requests."""
        assert self.request.sampling is not None
        return self.request.sampling

    @property
    def remaining(self) -> int:
        """Tokens not yet computed."""
        return len(self.tokens) - self.num_computed

    @property
    def num_output(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - self.num_prompt

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Whether the prompt's own tokens are to be scored."""
        sampling = self.request.sampling
        return self.index == 0 and sampling is not None and sampling.prompt_logprobs is not None

    @property
    def reads_prefix_cache(self) -> bool:
        """Cached positions have no logits and no hidden states: who needs those of the prompt computes it."""
        pooling = self.request.pooling
        to_score = self.wants_prompt_logprobs and len(self.prompt_logprobs) < self.num_prompt - 1
        return not to_score and (pooling is None or pooling.mode == "last")

    @property
    def is_ready(self) -> bool:
        """Whether it may be admitted: it has no leader, or the leader has done the prompt (or is gone)."""
        leader = self.leader
        return leader is None or leader.status is Status.FINISHED or leader.num_computed >= leader.num_prompt

    def append(self, token: int) -> None:
        """Adds a generated token."""
        self.tokens.append(token)
        self.counts[token] = self.counts.get(token, 0) + 1
        if self.seen is not None:
            self.seen.add(token)
        if self.prediction is not None:
            self.prediction.follow(token)

    def restart(self) -> None:
        """Forgets what was computed (its blocks are gone); tokens, and the state of sampling, stay."""
        self.num_computed = 0
        self.num_recorded = 0
        self.prefix = None
        self.tables = [[] for _ in self.tables]
        self.pooled = None
        if self.prediction is not None:
            self.prediction.withdraw()

    def add_hidden(self, hidden: Tensor) -> None:
        """Adds a chunk's hidden states [n, dim] for mean pooling."""
        chunk = hidden.sum(0, dtype=torch.promote_types(hidden.dtype, torch.float32))
        self.pooled = chunk if self.pooled is None else self.pooled + chunk

    def held_blocks(self) -> list[int]:
        """All blocks it holds, the last ones first."""
        return [block for table in self.tables for block in reversed(table) if block != NO_BLOCK]


def _random(sampling: SamplingParams | None, index: int) -> Random:
    """A generator of its own for each choice: the same seed gives the same draws, whoever else is served."""
    if sampling is None or sampling.seed is None:
        return Random()
    return Random(f"{sampling.seed}:{index}")
