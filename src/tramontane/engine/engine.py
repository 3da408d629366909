"""The engine: many requests, one model. `step()` tells the whole story: schedule → run → settle → sample."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tramontane.engine.attention import Batch, Prepare, SequenceSlice, choose_attention
from tramontane.engine.block_pool import BlockPool
from tramontane.engine.grammar import CompiledGrammar, GrammarCompiler, GrammarState, GrammarStateError
from tramontane.engine.grammar_mask import apply_bitmask, new_bitmask
from tramontane.engine.kv_cache import KVCache, block_bytes, layer_groups, max_tokens_that_fit
from tramontane.engine.metrics import EngineMetrics
from tramontane.engine.pacing import PromptPacer
from tramontane.engine.pooling import finish_pooling
from tramontane.engine.prediction import PredictedText
from tramontane.engine.prefix_cache import PrefixCache, TokensKey
from tramontane.engine.request import FinishReason, Output, Request, Usage
from tramontane.engine.sampler import logprobs_of, sample
from tramontane.engine.scheduler import Chunk, Scheduler
from tramontane.engine.sequence import Sequence, Status
from tramontane.engine.text import TextStream
from tramontane.errors import InvalidRequestError, TramontaneError
from tramontane.model.machine import GIB
from tramontane.model.transformer import Transformer
from tramontane.tokenizer.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

# Prompt log-probabilities score every position: so many rows at a time, to bound the memory of [rows, vocab].
_SCORED_ROWS = 64


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of an engine."""

    kv_memory_bytes: int = 4 * GIB
    max_context: int | None = None  # None: the model's own, where the KV memory holds it
    max_sequences: int = 128  # computed in one step
    max_queue: int = 1024  # waiting beyond those
    max_step_tokens: int = 512  # prompt tokens a step, while nobody decodes
    block_size: int = 32  # tokens

    def __post_init__(self) -> None:
        for name in ("kv_memory_bytes", "max_context", "max_sequences", "max_step_tokens", "block_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TramontaneError(f"The engine's {name} is {value}, and must be at least 1.")
        if self.max_queue < 0:
            raise TramontaneError(f"The engine's max_queue is {self.max_queue}, and must not be negative.")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that was checked, with its grammar compiled and its prediction made ready."""

    grammar: CompiledGrammar | None
    predicted: PredictedText | None = None


class Engine:
    """Serves requests step by step, in the thread that calls it. `AsyncEngine` gives it one of its own."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer | None = None,
        config: EngineConfig | None = None,
        *,
        attention: Prepare | None = None,
        clock: Callable[[], float] = time.perf_counter,
        prefix_key: TokensKey = bytes,
    ) -> None:
        """`tokenizer`: without one, stop strings, grammars and text are not available."""
        self.config = config = config or EngineConfig()
        self.model, self.tokenizer, self._clock = model, tokenizer, clock
        if tokenizer is not None:
            tokenizer.check_fits(model.config.vocab_size)
        context = min(model.config.max_context, config.max_context or model.config.max_context)
        groups = layer_groups(model.config, context)
        num_blocks = _num_blocks(model, config, context)
        fits = max_tokens_that_fit(groups, num_blocks, config.block_size, config.max_step_tokens)
        self.max_context = min(context, fits)  # tokens, prompt and output together
        self.notices: list[str] = []  # what the user should know
        if fits < context:
            self.notices.append(
                f"The model's context of {context} tokens is cut to the {fits} that the KV memory of "
                f"{config.kv_memory_bytes / 2**20:,.0f} MiB holds; give it more for longer prompts."
            )
        self._prefixes = PrefixCache(config.block_size, [group.window for group in groups], prefix_key)
        self._pool = BlockPool(num_blocks, self._prefixes)
        self._cache = KVCache(model.config, groups, num_blocks, config.block_size, model.dtype, model.device)
        self._attention = attention or choose_attention(model.config, model.device, model.dtype, config.block_size)
        self._pacer = PromptPacer(config.max_step_tokens)
        self.metrics = EngineMetrics()
        self._scheduler = Scheduler(
            groups,
            self._pool,
            self._prefixes,
            self._pacer,
            self.metrics,
            max_sequences=config.max_sequences,
            max_queue=config.max_queue,
            max_context=self.max_context,
        )
        self._grammars = None if tokenizer is None else GrammarCompiler(tokenizer, model.config.vocab_size)
        self._live: dict[str, list[Sequence]] = {}

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, request: Request) -> Prepared:
        """Checks a request and compiles its grammar; raises InvalidRequestError. Safe to call from any thread."""
        vocab_size = self.model.config.vocab_size
        if not request.prompt:
            raise InvalidRequestError("prompt", "The prompt has no tokens.")
        bad = next((t for t in request.prompt if not isinstance(t, int) or not 0 <= t < vocab_size), None)
        if bad is not None:
            raise InvalidRequestError("prompt", f"Token {bad!r} is not in the vocabulary of {vocab_size} tokens.")
        room = self.max_context - (request.sampling is not None)
        if len(request.prompt) > room:
            raise InvalidRequestError(
                "prompt",
                f"The prompt has {len(request.prompt)} tokens and the context holds {self.max_context}: shorten it.",
            )
        if request.sampling is not None:
            request.sampling.validate(vocab_size)
            if request.sampling.stop and self.tokenizer is None:
                raise InvalidRequestError("stop", "Stop strings need a tokenizer, and this model has none.")
        if len(request.prediction) > self.max_context:
            raise InvalidRequestError(
                "prediction", f"The prediction is longer than the context of {self.max_context} tokens: shorten it."
            )
        predicted = PredictedText(request.prediction) if request.prediction else None
        if request.grammar is None:
            return Prepared(None, predicted)
        if self._grammars is None or request.sampling is None:
            raise InvalidRequestError("grammar", "A grammar needs a tokenizer and a sampled request.")
        if request.sampling.stop and not request.grammar.has_free_text:
            # Cut at a stop string, the document would no longer be what the grammar promises.
            raise InvalidRequestError("stop", "The grammar decides where this answer ends: leave out the stop strings.")
        compiled = self._grammars.compile(request.grammar)
        try:
            _begin(compiled, request)
        except GrammarStateError:
            raise InvalidRequestError("prefix", "No answer of the form asked for begins with this prefix.") from None
        return Prepared(compiled, predicted)

    def submit(self, request: Request, prepared: Prepared | None = None) -> None:
        """Queues a request; raises InvalidRequestError or QueueFullError. `prepared`: by `prepare`, if it was."""
        prepared = prepared or self.prepare(request)
        if request.id in self._live:
            raise InvalidRequestError("id", f"A request {request.id} is being served already.")
        sequences: list[Sequence] = []
        for index in range(1 if request.sampling is None else request.sampling.n):
            sequences.append(self._new_sequence(request, index, prepared, sequences[0] if sequences else None))
        self._scheduler.add(sequences)
        self._live[request.id] = sequences

    def _new_sequence(self, request: Request, index: int, prepared: Prepared, leader: Sequence | None) -> Sequence:
        text = None
        if self.tokenizer is not None and request.sampling is not None:
            text = TextStream(self.tokenizer, request.sampling.stop, continues=request.continues_text)
        started = None if prepared.grammar is None else _begin(prepared.grammar, request)
        return Sequence(request, index, len(self._cache.groups), text, started, leader, prepared.predicted)

    def cancel(self, request_id: str) -> None:
        """Gives a request up; its blocks are free at once. Nothing happens where it is not known (any more)."""
        for sequence in self._live.pop(request_id, []):
            self._scheduler.remove(sequence)
        self._read_gauges()

    def cut_short(self) -> list[Output]:
        """Ends everything that is not finished, with the counts of what was delivered."""
        return [self._end(sequence, Output(*_key(sequence)), "cancelled") for sequence in self._unfinished()]

    def open_choices(self, request_id: str) -> list[int]:
        """The choices of a request that have not ended; none where it is not known (any more)."""
        return [s.index for s in self._live.get(request_id, []) if s.status is not Status.FINISHED]

    @property
    def has_work(self) -> bool:
        """Whether a step would do something."""
        return bool(self._live)

    # ── a step ──────────────────────────────────────────────────────────────────────────────────────────────────

    @torch.inference_mode()
    def step(self) -> list[Output]:
        """Lets every scheduled sequence catch up a little; returns what that adds to each."""
        chunks: list[Chunk] = []
        started = self._clock()
        try:
            chunks = self._scheduler.schedule()
            if not chunks:
                self._read_gauges()
                return []
            hidden = self._run(chunks)
            for chunk in chunks:
                self._scheduler.settle(chunk.sequence, chunk.num_tokens)
            outputs = self._read(chunks, hidden)
        except Exception as error:
            logger.exception("a step failed; its requests end with an error")
            self.metrics.failed_steps += 1
            outputs = self._fail([chunk.sequence for chunk in chunks] or self._unfinished(), error)
        self._count(chunks, self._clock() - started)
        return outputs

    def _fail(self, sequences: list[Sequence], error: Exception) -> list[Output]:
        reason = f"The engine failed while it computed this request: {error or type(error).__name__}"
        return [self._end(sequence, Output(*_key(sequence)), "error", reason) for sequence in sequences]

    def _unfinished(self) -> list[Sequence]:
        return [s for choices in self._live.values() for s in choices if s.status is not Status.FINISHED]

    def _run(self, chunks: list[Chunk]) -> Tensor:
        """The model over one ragged batch of all new tokens → hidden states [T, dim]."""
        tokens: list[int] = []
        positions: list[int] = []
        slices = []
        for chunk in chunks:
            sequence, first = chunk.sequence, chunk.sequence.num_computed
            slices.append(SequenceSlice(len(tokens), chunk.num_rows, first, sequence.tables))
            tokens += sequence.tokens[first : first + chunk.num_tokens] + chunk.guess
            positions += range(first, first + chunk.num_rows)
        device = self.model.device
        batch = Batch(
            torch.tensor(tokens, device=device), torch.tensor(positions, device=device), slices, self.config.block_size
        )
        return self.model(batch.tokens, batch.positions, self._attention(self._cache, batch))  # type: ignore[no-any-return]

    def _read(self, chunks: list[Chunk], hidden: Tensor) -> list[Output]:
        """Samples from, scores or pools what the step computed."""
        outputs: list[Output] = []
        ready: list[Chunk] = []
        sampled_rows: list[int] = []
        start = 0
        for chunk in chunks:
            sequence, rows = chunk.sequence, hidden[start : start + chunk.num_tokens]
            start += chunk.num_rows
            if sequence.wants_prompt_logprobs:
                self._score_prompt(sequence, rows)
            caught_up = sequence.remaining == 0
            if sequence.request.pooling is not None:
                if pooled := finish_pooling(sequence, rows, caught_up):
                    outputs.append(self._end(sequence, Output(*_key(sequence), embedding=pooled), "stop"))
            elif caught_up:
                ready.append(chunk)
                sampled_rows += range(start - len(chunk.guess) - 1, start)
        if ready:
            outputs += self._sample(ready, self.model.logits(hidden[sampled_rows]))
        return outputs

    def _score_prompt(self, sequence: Sequence, rows: Tensor) -> None:
        """Log-probabilities of the prompt tokens that the chunk predicts; each once, also after a restart."""
        done = sequence.num_computed - rows.shape[0]  # position of the chunk's first row, which scores the next token
        known = len(sequence.prompt_logprobs)
        first, last = max(done, known), min(sequence.num_computed, sequence.num_prompt - 1)
        num_top = sequence.sampling.prompt_logprobs or 0
        for at in range(first, last, _SCORED_ROWS):
            to = min(at + _SCORED_ROWS, last)
            logits = self.model.logits(rows[at - done : to - done])
            sequence.prompt_logprobs += logprobs_of(logits, sequence.tokens[at + 1 : to + 1], num_top)

    def _sample(self, chunks: list[Chunk], logits: Tensor) -> list[Output]:
        """The next token of each chunk's sequence, and those after it as far as its guess comes true.

        `logits` [R, vocab]: a row for the token that is certain, and one for each that was guessed.
        """
        outputs = [Output(*_key(chunk.sequence)) for chunk in chunks]
        first_rows = [0, *itertools.accumulate(len(chunk.guess) + 1 for chunk in chunks)]
        going, depth = list(range(len(chunks))), 0
        while going:
            rows = [first_rows[at] + depth for at in going]
            scores = logits if len(rows) == logits.shape[0] else logits[rows]
            self._sample_once([chunks[at].sequence for at in going], scores, [outputs[at] for at in going])
            going = [at for at in going if _came_true(chunks[at], depth)]
            for at in going:  # the token that was sampled has been computed already
                self._scheduler.settle(chunks[at].sequence, 1)
            depth += 1
        for chunk in chunks:
            if chunk.guess:
                self._scheduler.trim(chunk.sequence)
        return outputs

    def _sample_once(self, sequences: list[Sequence], logits: Tensor, outputs: list[Output]) -> None:
        """One token of each sequence, from `logits` [R, vocab], added to its output."""
        # Scores before penalties and masks: what the model itself thinks.
        wants = [row for row, s in enumerate(sequences) if s.sampling.logprobs is not None]
        raw = logits[wants] if wants else None
        broken = self._constrain(sequences, logits)
        tokens = sample(logits, sequences, None if self.tokenizer is None else self.tokenizer.eos_id)
        peaks = logits.amax(-1).tolist()  # NaN where any score is, -inf where nothing is allowed
        for row, (sequence, token, output) in enumerate(zip(sequences, tokens, outputs, strict=True)):
            if row in broken or not -float("inf") < peaks[row] < float("inf"):
                reason = broken.get(row, "The model's scores leave no token to choose.")
                self._end(sequence, output, "error", reason)
                continue
            if raw is not None and row in wants:
                own = raw[wants.index(row)][None]
                scored = logprobs_of(own, [token], sequence.sampling.logprobs or 0)
                output.logprobs = [*(output.logprobs or ()), *scored]
            try:
                self._append(sequence, token, output)
            except GrammarStateError as error:
                self._end(sequence, output, "error", str(error))

    def _constrain(self, sequences: list[Sequence], logits: Tensor) -> dict[int, str]:
        """Forbids, in place, what grammars do not allow; returns the rows whose grammar broke, and why."""
        rows = [row for row, sequence in enumerate(sequences) if sequence.grammar is not None]
        bitmask, broken = new_bitmask(len(rows), logits.shape[1]), {}
        for at, row in enumerate(rows):
            grammar = sequences[row].grammar
            assert grammar is not None
            try:
                grammar.fill_mask(bitmask[at])
            except GrammarStateError as error:
                broken[row] = str(error)
            else:
                apply_bitmask(logits[row : row + 1], bitmask[at : at + 1])
        return broken

    def _append(self, sequence: Sequence, token: int, output: Output) -> None:
        """Adds a sampled token to a sequence, and ends it where that was its last."""
        params = sequence.sampling
        sequence.append(token)
        output.token_ids.append(token)
        self.metrics.generation_tokens += 1
        if sequence.num_output == 1:
            output.prompt_logprobs = sequence.prompt_logprobs if sequence.wants_prompt_logprobs else None
            output.num_cached = sequence.num_cached
        if sequence.grammar is not None:
            sequence.grammar.accept(token)
        is_eos = self.tokenizer is not None and token == self.tokenizer.eos_id and not params.ignore_eos
        if sequence.text is not None and not is_eos:
            # Inside a tool call, or whatever else is not complete, a stop string is only text.
            may_stop = sequence.grammar is None or sequence.grammar.is_accepting
            output.pieces += sequence.text.feed(token, may_stop and sequence.num_output >= params.min_tokens)
        if reason := self._finish_reason(sequence, is_eos):
            stopped_by = None if sequence.text is None else sequence.text.stopped_by
            self._end(sequence, output, reason, stopped_by)

    def _finish_reason(self, sequence: Sequence, is_eos: bool) -> FinishReason | None:
        if is_eos or (sequence.text is not None and sequence.text.stopped_by is not None):
            return "stop"
        if sequence.grammar is not None and sequence.grammar.is_finished:
            return "stop"
        if sequence.num_output == sequence.sampling.max_tokens:
            return "length"
        return "model_length" if len(sequence.tokens) >= self.max_context else None

    def _end(self, sequence: Sequence, output: Output, reason: FinishReason, detail: str | None = None) -> Output:
        """Finishes a sequence: blocks back, text flushed, counts reported."""
        if sequence.status is not Status.FINISHED:
            self._scheduler.remove(sequence)
        if sequence.text is not None and reason != "error":
            output.pieces += sequence.text.flush()
        output.finish_reason, output.detail = reason, detail
        waited = 0.0 if sequence.started is None else sequence.started - sequence.arrived
        output.usage = Usage(sequence.num_prompt, sequence.num_cached, sequence.num_output, waited)
        if guesses := sequence.prediction:
            accepted, rejected = guesses.num_accepted, guesses.num_rejected
            output.usage = replace(output.usage, accepted_predictions=accepted, rejected_predictions=rejected)
            self.metrics.predictions_accepted += accepted
            self.metrics.predictions_rejected += rejected
        live = self._live.get(sequence.request.id, [])
        if all(choice.status is Status.FINISHED for choice in live):
            self._live.pop(sequence.request.id, None)
        return output

    def _count(self, chunks: list[Chunk], seconds: float) -> None:
        """Metrics of a step, and what the pacer learns from it."""
        prompt_tokens = sum(chunk.num_tokens for chunk in chunks if chunk.is_prompt)
        self._pacer.observe(sum(not chunk.is_prompt for chunk in chunks), prompt_tokens, seconds)
        metrics = self.metrics
        metrics.num_steps += 1
        metrics.step_seconds += seconds
        metrics.prompt_tokens += prompt_tokens
        self._read_gauges()

    def _read_gauges(self) -> None:
        metrics = self.metrics
        metrics.num_requests_running = len(self._scheduler.running)
        metrics.num_requests_waiting = len(self._scheduler.waiting)
        metrics.kv_cache_usage_perc = 1 - self._pool.num_free / self._pool.num_blocks

    def check(self) -> None:
        """Balances the pool's books; raises AssertionError where a block is lost. For tests and for doubt."""
        self._scheduler.check()


def _num_blocks(model: Transformer, config: EngineConfig, context: int) -> int:
    """Blocks in the given memory, but no more than all sequences at their longest could hold."""
    groups = layer_groups(model.config, context)
    size = block_bytes(model.config, groups, config.block_size, model.dtype)
    most = config.max_sequences * len(groups) * (-(-context // config.block_size) + 1)
    num_blocks = min(config.kv_memory_bytes // size, most)
    if num_blocks < 2 * len(groups):
        raise TramontaneError(
            f"KV memory of {config.kv_memory_bytes / 2**20:.1f} MiB does not hold two blocks a layer group; "
            f"give at least {2 * len(groups) * size / 2**20:.1f} MiB."
        )
    return num_blocks


def _came_true(chunk: Chunk, depth: int) -> bool:
    """Whether the token that was sampled is the guessed one, and there is a row to go on from."""
    if depth >= len(chunk.guess) or chunk.sequence.status is Status.FINISHED:
        return False
    return chunk.sequence.tokens[-1] == chunk.guess[depth]


def _begin(grammar: CompiledGrammar, request: Request) -> GrammarState:
    """The state of a new sequence, past what the client wrote of the answer."""
    state = grammar.start()
    for token in request.begun:
        state.accept(token)
    return state


def _key(sequence: Sequence) -> tuple[str, int]:
    return sequence.request.id, sequence.index
