"""The record of one request while it is served: what logs, metrics and (later) bills are written from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tramontane.gateway.answers import Event


@dataclass(slots=True)
class Exchange:
    """One request and what became of it. Times are readings of `time.perf_counter`, in seconds."""

    id: str
    route: str = ""
    workspace_id: str = ""
    credential: str = ""  # the name of the key or session, never the secret
    model: str = ""
    stream: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    ignored_fields: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    first_token: float | None = None
    last_token: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    queue_seconds: float | None = None
    finish_reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)  # that the answer is to have
    is_admitted: bool = False  # counted as a request: its further prompts are no more of them
    failure: str | None = None  # for the log: what the client is told in general terms
    on_gap: Callable[[float], None] | None = None  # called with the seconds between two tokens

    def observe(self, event: Event) -> None:
        """Takes in one event of the answer."""
        if event.num_tokens:
            now = time.perf_counter()
            if self.first_token is None:
                self.first_token = now
            elif self.on_gap is not None and self.last_token is not None:
                self.on_gap(now - self.last_token)
            self.last_token = now
            self.completion_tokens += event.num_tokens
        if event.finish_reason is not None:
            self.finish_reasons.append(event.finish_reason)
            if event.finish_reason == "error":
                self.failure = event.detail or "The answer ended with an error."
            if event.usage is not None and event.index == 0:
                self.cached_tokens += event.usage.cached
                self.queue_seconds = event.usage.queue_seconds

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds from the request's arrival to the first token of its answer."""
        return None if self.first_token is None else self.first_token - self.started

    @property
    def tokens_per_second(self) -> float | None:
        """Of the answer, after its first token; all choices together."""
        if self.first_token is None or self.last_token is None or self.last_token <= self.first_token:
            return None
        return (self.completion_tokens - 1) / (self.last_token - self.first_token)
