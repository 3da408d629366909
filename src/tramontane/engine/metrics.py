"""What the engine counts. Names follow those that dashboards of inference servers know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class EngineMetrics:
    """Counters since the start, and gauges as of the last step."""

    num_requests_running: int = 0
    num_requests_waiting: int = 0
    kv_cache_usage_perc: float = 0.0  # 0…1, cached but free blocks not counted
    prefix_cache_queries: int = 0  # prompt tokens looked up
    prefix_cache_hits: int = 0  # of which were found
    num_preemptions: int = 0
    admission_rejections: int = 0
    failed_steps: int = 0
    num_steps: int = 0
    prompt_tokens: int = 0  # computed, cached ones not counted
    generation_tokens: int = 0
    step_seconds: float = 0.0
    predictions_accepted: int = 0  # predicted tokens that were computed ahead and came true
    predictions_rejected: int = 0
