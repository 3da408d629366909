"""What is counted, under the names that dashboards of inference servers know. Nothing here tells what was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tramontane.gateway.exchange import Exchange

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_LONGEST_GAP = 5.0

# Labels that clients choose must not grow without bound: beyond so many, all others are counted as one.
_MOST_LABELS = 200
OTHER = "other"


class EngineCounts(Protocol):
    """What one model's engine counts (`engine.metrics.EngineMetrics`)."""

    num_requests_running: int
    num_requests_waiting: int
    kv_cache_usage_perc: float
    prefix_cache_queries: int
    prefix_cache_hits: int
    num_preemptions: int
    admission_rejections: int
    failed_steps: int
    num_steps: int
    prompt_tokens: int
    generation_tokens: int
    step_seconds: float
    predictions_accepted: int
    predictions_rejected: int


ReadEngines = Callable[[], Iterable[tuple[str, EngineCounts]]]

_GAUGES = {
    "num_requests_running": "Sequences that are computed in each step.",
    "num_requests_waiting": "Sequences in the queue.",
    "kv_cache_usage_perc": "Share of the KV memory that is held, 0 to 1.",
}
_COUNTERS = {
    "prefix_cache_queries": "Prompt tokens that were looked up.",
    "prefix_cache_hits": "Prompt tokens that were found.",
    "num_preemptions": "Sequences that gave their memory up and were computed again.",
    "admission_rejections": "Requests refused because the queue was full.",
    "failed_steps": "Steps that failed.",
    "num_steps": "Steps.",
    "prompt_tokens": "Prompt tokens computed, cached ones not counted.",
    "generation_tokens": "Tokens generated.",
    "step_seconds": "Seconds spent in steps.",
    "predictions_accepted": "Predicted tokens that were computed ahead and came true.",
    "predictions_rejected": "Predicted tokens that were computed for nothing.",
}


class Metrics:
    """A registry of its own, so that several servers can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests by route and status.", "route", "status")
        self._finished = self._counter("choices_finished", "Choices by model and reason.", "model", "finish_reason")
        self._ignored = self._counter("ignored_fields", "Fields of requests that no route knows.", "field")
        self._metadata = self._counter("requests_by_metadata", "Requests by their metadata.", "key", "value")
        self._tokens = self._counter("request_tokens", "Tokens of finished requests.", "model", "kind")
        self._duration = self._histogram("request_duration_seconds", "From arrival to the last byte.", "route")
        self._first = self._histogram("time_to_first_token_seconds", "From arrival to the first token.", "model")
        self._gap = self._histogram("inter_token_latency_seconds", "Between two tokens of an answer.", "model")
        self._queue = self._histogram("request_queue_time_seconds", "From arrival to the first step.", "model")
        self._labels: dict[str, set[tuple[str, ...]]] = {}
        self._last_end = time.monotonic()
        self._seconds_between_ends = 1.0  # of answers, averaged over the last ten or so

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tramontane_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"tramontane_{name}", text, labels, registry=self.registry, buckets=_SECONDS)

    def read_engines_from(self, read: ReadEngines) -> None:
        """Engines' own counts are read when somebody asks, not copied as they change."""
        self.registry.register(_Engines(read))

    def gap_observer(self, model: str) -> Callable[[float], None]:
        """What is called with the seconds between two tokens of a model's answer."""
        return self._gap.labels(model).observe

    def record(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        self._requests.labels(exchange.route, str(status)).inc()
        self._duration.labels(exchange.route).observe(seconds)
        for name in exchange.ignored_fields:
            self._ignored.labels(*self._bounded("ignored", (name[:64],))).inc()
        for pair in exchange.metadata.items():
            self._metadata.labels(*self._bounded("metadata", pair)).inc()
        if not exchange.model:
            return
        if exchange.finish_reasons:
            now = time.monotonic()
            gap = min(now - self._last_end, _LONGEST_GAP)  # an idle night says nothing of how fast places come free
            self._seconds_between_ends += 0.1 * (gap - self._seconds_between_ends)
            self._last_end = now
        for reason in exchange.finish_reasons:
            self._finished.labels(exchange.model, reason).inc()
        self._tokens.labels(exchange.model, "prompt").inc(exchange.prompt_tokens)
        self._tokens.labels(exchange.model, "cached").inc(exchange.cached_tokens)
        self._tokens.labels(exchange.model, "completion").inc(exchange.completion_tokens)
        if exchange.time_to_first_token is not None:
            self._first.labels(exchange.model).observe(exchange.time_to_first_token)
        if exchange.queue_seconds is not None:
            self._queue.labels(exchange.model).observe(exchange.queue_seconds)

    def seconds_until_room(self) -> int:
        """About when a full queue has room again, in seconds from 1 to 60: a place comes free with each answer."""
        return min(60, max(1, round(self._seconds_between_ends)))

    def _bounded(self, family: str, labels: tuple[str, ...]) -> tuple[str, ...]:
        known = self._labels.setdefault(family, set())
        if labels not in known and len(known) >= _MOST_LABELS:
            return (OTHER,) * len(labels)
        known.add(labels)
        return labels


class _Engines:
    """Reads the engines' counts at each scrape."""

    def __init__(self, read: ReadEngines) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        engines = list(self._read())
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"tramontane_{name}", text, labels=["model"])
            for model, counts in engines:
                gauge.add_metric([model], getattr(counts, name))
            yield gauge
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"tramontane_{name}", text, labels=["model"])
            for model, counts in engines:
                counter.add_metric([model], getattr(counts, name))
            yield counter
