"""The measurements behind `tramontane bench engine`.

Every rate goes through the whole engine (scheduler, attention, sampler), and is compared with what the model's linear
layers alone reach in the same run at the same number of rows: shares hold where a noisy machine's seconds do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tramontane.engine.attention import choose_attention
from tramontane.engine.engine import Engine, EngineConfig
from tramontane.engine.request import Request, SamplingParams
from tramontane.model.config import ModelConfig
from tramontane.model.experts import Experts
from tramontane.model.linear import AnyLinear, Int4Linear, Int8Linear, Quantization
from tramontane.model.machine import GIB, best_device, best_dtype
from tramontane.model.random_weights import RandomWeights
from tramontane.model.transformer import Transformer
from tramontane.model.weights import build_model, linears, weight_bytes

PROMPTS = (512, 2048)
DECODES = (1, 4, 8, 16, 32)
DECODE_PROMPT, DECODE_TOKENS = 128, 64
LATENCY_RUNNING = 4
LATENCY_SECONDS = 20.0  # how long a long prompt's arrival is watched, at its start and near its end

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a second: through the engine, through the linear layers alone, and as the machine's roofs allow.

    The roof is the larger of two times: weights over read bandwidth, and the linears' arithmetic over the matrix rate.
    """

    name: str
    tokens_per_second: float
    linears_tokens_per_second: float
    roof_tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds between two tokens."""

    median_ms: float
    p95_ms: float

    @classmethod
    def of(cls, gaps: list[float]) -> Latency:
        """From seconds."""
        ordered = sorted(gaps)
        return cls(statistics.median(gaps) * 1e3, ordered[int(0.95 * (len(ordered) - 1))] * 1e3)


@dataclass(slots=True)
class Figures:
    """Everything measured in one run. Seconds and milliseconds are medians unless the name says otherwise."""

    device: str
    dtype: str
    attention: str
    quantization: str  # what was used, which is not always what was asked for
    threads: int
    read_gb_per_second: float
    matrix_tflop_per_second: float
    weights_gib: float
    rates: list[Rate] = field(default_factory=list)
    long_prompt_tokens: int = 0
    first_token_seconds: float = 0.0
    first_token_cached_seconds: float = 0.0
    # Between two tokens of running requests: alone, and while a long prompt begins and ends beside them.
    quiet: Latency | None = None
    long_prompt_begins: Latency | None = None
    quiet_again: Latency | None = None
    long_prompt_ends: Latency | None = None
    step_shares: dict[str, float] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """The figures that are not rates, in words."""
        lines = [
            f"Roofs, measured in the same run: {self.read_gb_per_second:.1f} GB/s read, "
            f"{self.matrix_tflop_per_second:.2f} T(FL)OP/s; weights {self.weights_gib:.2f} GiB.",
            "One step of one request: " + ", ".join(f"{name} {share:.0%}" for name, share in self.step_shares.items()),
        ]
        if self.quiet and self.long_prompt_begins and self.quiet_again and self.long_prompt_ends:
            cached_share = self.first_token_cached_seconds / self.first_token_seconds

            def beside(quiet: Latency, busy: Latency) -> str:
                return (
                    f"{busy.median_ms:.1f} ms where {quiet.median_ms:.1f} is quiet "
                    f"({busy.median_ms / quiet.median_ms:.2f}x; p95 {busy.p95_ms:.1f} and {quiet.p95_ms:.1f})"
                )

            lines += [
                f"Time to first token of {self.long_prompt_tokens:,} tokens: {self.first_token_seconds:.2f} s; "
                f"repeated, from the prefix cache: {self.first_token_cached_seconds:.3f} s ({cached_share:.2%}).",
                f"Between tokens of {LATENCY_RUNNING} running requests, while the long prompt begins: "
                f"{beside(self.quiet, self.long_prompt_begins)}; while it ends: "
                f"{beside(self.quiet_again, self.long_prompt_ends)}.",
            ]
        return lines


def measure(
    config: ModelConfig, quantization: Quantization, *, long_prompt: int, tell: Tell, show_notices: Callable[..., None]
) -> Figures:
    """Runs all measurements on random weights of `config`'s shape."""
    device = best_device()
    dtype = best_dtype(device)
    tell("making random weights")
    read = RandomWeights(config, dtype=torch.bfloat16).read
    loaded = build_model(config, read, quantization=quantization, dtype=dtype, device=device)
    model = loaded.model
    engine = Engine(model, config=EngineConfig(kv_memory_bytes=4 * GIB, max_sequences=64))
    show_notices([*loaded.notices, *engine.notices])
    tell("measuring the machine")
    alone = Linears(model, read_roof(), matrix_roof(model))
    figures = Figures(
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        attention=choose_attention(config, device, dtype, engine.config.block_size).__name__,
        quantization=loaded.quantization,
        threads=torch.get_num_threads(),
        read_gb_per_second=alone.read_roof / 1e9,
        matrix_tflop_per_second=alone.matrix_roof / 1e12,
        weights_gib=weight_bytes(model) / GIB,
    )
    _run(engine, [_request(engine, 64, 8)])  # first calls allocate
    for length in PROMPTS:
        tell(f"prompt of {length}")
        figures.rates.append(_prompt_rate(engine, alone, length))
    for requests in DECODES:
        tell(f"decoding {requests} at once")
        figures.rates.append(_decode_rate(engine, alone, requests))
    tell("where a step's time goes")
    figures.step_shares = _step_shares(engine)
    if long_prompt:
        _measure_long_prompt(engine, figures, min(long_prompt, engine.max_context - 64), tell)
    return figures


# ── the machine's roofs ─────────────────────────────────────────────────────────────────────────────────────────────


@torch.inference_mode()
def read_roof() -> float:
    """The best read bandwidth seen, in bytes/s: a plain reduction, and an int8 product of one row."""
    numbers = torch.ones(64 * 2**20, device=best_device())  # 256 MiB
    best = numbers.nbytes / min(_rounds(numbers.sum))
    if best_device().type == "cpu":
        weight = torch.ones(32_768, 8_192, dtype=torch.int8)  # 256 MiB
        linear = Int8Linear(weight, torch.ones(32_768))
        row = torch.randn(1, 8_192).bfloat16()
        best = max(best, weight.nbytes / min(_rounds(lambda: linear(row))))
    return best


@torch.inference_mode()
def matrix_roof(model: Transformer) -> float:
    """The best rate, in operations/s, of any of the model's linears at 512 rows."""
    shapes = {(linear.in_features, linear.out_features): linear for linear in linears(model)}
    rates = []
    for linear in shapes.values():
        x = torch.randn(512, linear.in_features, device=model.device, dtype=model.dtype)
        rates.append(2 * 512 * _size(linear) / min(_rounds(partial(linear, x))))
    return max(rates)


class Linears:
    """The model's linear layers without anything else: what the engine can reach at best."""

    def __init__(self, model: Transformer, read_roof: float, matrix_roof: float) -> None:
        self.read_roof, self.matrix_roof = read_roof, matrix_roof
        self._model = model
        self._experts = [module for module in model.modules() if isinstance(module, Experts)]
        inside = {id(linear) for experts in self._experts for linear in experts.modules()}
        self._scores = model.output
        self._dense = [m for m in linears(model) if m is not model.output and id(m) not in inside]

    def seconds(self, rows: int, scored: int) -> float:
        """Time of one pass of `rows` through the layers and `scored` of them through the scores."""
        work = [*self._work(rows), (self._scores, scored)]
        inputs = {(linear.in_features, n): self._input(linear.in_features, n) for linear, n in work}
        with torch.inference_mode():
            start = time.perf_counter()
            for linear, n in work:
                linear(inputs[linear.in_features, n])
            _synchronize()
            return time.perf_counter() - start

    def roof_seconds(self, rows: int, scored: int) -> float:
        """What the same would take at the machine's limits."""
        work = [*self._work(rows), (self._scores, scored)]
        reading = sum(_bytes(linear, n) for linear, n in work) / self.read_roof
        computing = sum(2 * n * _size(linear) for linear, n in work) / self.matrix_roof
        return max(reading, computing)

    def _work(self, rows: int) -> list[tuple[AnyLinear, int]]:
        """The layers' linears, each with the rows that it sees; of experts, as many as the rows may choose."""
        work = [(linear, rows) for linear in self._dense]
        for experts in self._experts:
            visits = rows * experts.num_experts_per_tok
            used = min(len(experts.experts), visits)
            for expert in list(experts.experts)[:used]:
                work += [(m, -(-visits // used)) for m in expert.modules() if isinstance(m, AnyLinear)]
        return work

    def _input(self, features: int, rows: int) -> Tensor:
        return torch.randn(rows, features, device=self._model.device, dtype=self._model.dtype)


def _size(linear: AnyLinear) -> int:
    return linear.in_features * linear.out_features


def _bytes(linear: AnyLinear, rows: int) -> int:
    """What a product with `rows` rows reads of the weight."""
    if isinstance(linear, Int4Linear):
        return linear.few_rows_bytes if rows <= linear.max_rows else linear.many_rows.num_bytes
    return linear.num_bytes


def _rounds(call: Callable[[], object], budget: float = 0.8) -> Iterator[float]:
    """At least five rounds after a warm-up, for at most about `budget` seconds."""
    call()
    begin = time.perf_counter()
    rounds = 0
    while rounds < 5 or time.perf_counter() - begin < budget:
        start = time.perf_counter()
        call()
        _synchronize()
        yield time.perf_counter() - start
        rounds += 1


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# ── the engine ──────────────────────────────────────────────────────────────────────────────────────────────────────

_serial = iter(range(10**9))


def _request(engine: Engine, num_prompt: int, max_tokens: int, prompt: list[int] | None = None) -> Request:
    """A greedy request; fresh random prompts, so that no prefix is found by chance."""
    tokens = _random_prompt(engine, num_prompt) if prompt is None else prompt
    return Request(f"bench-{next(_serial)}", tokens, SamplingParams(temperature=0, max_tokens=max_tokens))


def _random_prompt(engine: Engine, length: int) -> list[int]:
    return torch.randint(10, engine.model.config.vocab_size, (length,)).tolist()


def _run(engine: Engine, requests: list[Request]) -> None:
    for request in requests:
        engine.submit(request)
    while engine.has_work:
        engine.step()


def _prompt_rate(engine: Engine, alone: Linears, length: int) -> Rate:
    """A prompt until its first new token, and its linears in chunks of 512: in turn, medians of three."""
    chunks = length // 512
    times, linear_times = [], []
    for _ in range(3):
        linear_times.append(sum(alone.seconds(512, int(chunk == chunks - 1)) for chunk in range(chunks)))
        start = time.perf_counter()
        _run(engine, [_request(engine, length, 1)])
        times.append(time.perf_counter() - start)
    roof = chunks * alone.roof_seconds(512, 0)
    return Rate(
        f"prompt of {length}", *(length / x for x in (statistics.median(times), statistics.median(linear_times), roof))
    )


def _decode_rate(engine: Engine, alone: Linears, requests: int) -> Rate:
    """Steps in which every request gets a token, and as many passes of the linears: in turn, since machines drift."""
    for _ in range(requests):
        engine.submit(_request(engine, DECODE_PROMPT, DECODE_TOKENS))
    started: set[str] = set()
    while len(started) < requests:
        started.update(output.request_id for output in engine.step())
    steps, passes = [], []
    while engine.has_work:
        start = time.perf_counter()
        tokens = len(engine.step())
        if tokens == requests:
            steps.append(time.perf_counter() - start)
            passes.append(alone.seconds(requests, requests))
    roof = alone.roof_seconds(requests, requests)
    return Rate(
        f"decode, {requests} at once",
        *(requests / x for x in (statistics.median(steps), statistics.median(passes), roof)),
    )


def _step_shares(engine: Engine) -> dict[str, float]:
    """How one request's decoding step divides: the model's layers, the scores, the rest (Python, sampling)."""
    spent = dict.fromkeys(("layers", "scores"), 0.0)
    model = engine.model

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: object) -> Any:
            start = time.perf_counter()
            result = call(*arguments)
            spent[name] += time.perf_counter() - start
            return result

        return run

    engine.submit(_request(engine, DECODE_PROMPT, DECODE_TOKENS))
    engine.step()
    vars(model).update(forward=timed("layers", model.forward), logits=timed("scores", model.logits))
    start = time.perf_counter()
    while engine.has_work:
        engine.step()
    total = time.perf_counter() - start
    del model.forward, model.logits
    return {**{name: seconds / total for name, seconds in spent.items()}, "rest": 1 - sum(spent.values()) / total}


def _measure_long_prompt(engine: Engine, figures: Figures, length: int, tell: Tell) -> None:
    """Time to first token, cold and cached; latency of others while the prompt begins, and while it ends."""
    figures.long_prompt_tokens = length
    tell(f"prompt of {length}: latency of others while it begins")
    running = [_request(engine, DECODE_PROMPT, 100_000) for _ in range(LATENCY_RUNNING)]
    for request in running:
        engine.submit(request)
    _latencies(engine, running[0].id, 0.5)
    figures.quiet = Latency.of(_latencies(engine, running[0].id, 4.0))
    cold = _request(engine, length, 1)
    engine.submit(cold)
    figures.long_prompt_begins = Latency.of(_latencies(engine, running[0].id, LATENCY_SECONDS, until=cold.id))
    for request in [cold, *running]:
        engine.cancel(request.id)

    tell(f"prompt of {length}: time to first token")
    prompt = _random_prompt(engine, length)
    start = time.perf_counter()
    _run(engine, [_request(engine, 0, 1, prompt)])
    figures.first_token_seconds = time.perf_counter() - start
    start = time.perf_counter()
    _run(engine, [_request(engine, 0, 1, prompt)])
    figures.first_token_cached_seconds = time.perf_counter() - start

    tell(f"prompt of {length}: latency of others while it ends")
    running = [_request(engine, DECODE_PROMPT, 100_000) for _ in range(LATENCY_RUNNING)]
    for request in running:
        engine.submit(request)
    figures.quiet_again = Latency.of(_latencies(engine, running[0].id, 4.0))
    known = length - length // 8
    last = _request(engine, 0, 1, prompt[:known] + _random_prompt(engine, length - known))
    engine.submit(last)
    figures.long_prompt_ends = Latency.of(_latencies(engine, running[0].id, LATENCY_SECONDS, until=last.id))
    for request in [last, *running]:
        engine.cancel(request.id)


def _latencies(engine: Engine, watched: str, seconds: float, until: str | None = None) -> list[float]:
    """Seconds between two tokens of `watched`, for so long, or until the first token of `until`."""
    gaps: list[float] = []
    begin = last = time.perf_counter()
    seen: set[str] = set()
    while time.perf_counter() - begin < seconds and until not in seen:
        seen = {output.request_id for output in engine.step()}
        if watched in seen:
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
    return gaps
