"""From a request to the events of its answer: what chat, fill-in-the-middle, completions and responses share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from tramontane.api.errors import INTERNAL_MESSAGE, AnswerFailedError
from tramontane.api.platform import exchange_of, platform_of, principal_of
from tramontane.api.schemas.common import RequestBody
from tramontane.api.streams import unless_hung_up
from tramontane.gateway.answers import Answer, EventStream, TokenScore, Usage
from tramontane.gateway.requests import Generation, Prompt, Sampling

_MOST_METADATA, _LONGEST_KEY, _LONGEST_VALUE = 16, 64, 512


def note_request(
    request: Request, body: RequestBody, metadata: Mapping[str, Any] | None = None, stream: bool | None = None
) -> None:
    """Notes for log and metrics what the body says of itself."""
    exchange = exchange_of(request)
    exchange.stream = bool(stream)
    exchange.ignored_fields = [name[:_LONGEST_KEY] for name in body.ignored_fields[:_MOST_METADATA]]
    pairs = list((metadata or {}).items())[:_MOST_METADATA]
    exchange.metadata = {str(key)[:_LONGEST_KEY]: str(value)[:_LONGEST_VALUE] for key, value in pairs}


async def begin(request: Request, model: str, prompt: Prompt, sampling: Sampling, suffix: str = "") -> EventStream:
    """Hands the request to the gateway; the stream that comes back has been accepted, and must be closed.

    `suffix` tells the requests of one exchange apart. The salt of cached prefixes is the workspace's: tenants never
    share one, and cannot probe each other's prompts by how fast an answer comes.
    """
    exchange = exchange_of(request)
    generation = Generation(exchange.id + suffix, prompt, sampling, principal_of(request).cache_salt)
    accepting = platform_of(request).gateway.generate(model, generation, exchange)
    return await unless_hung_up(request, accepting)


async def whole(request: Request, stream: EventStream, num_choices: int) -> Answer:
    """The whole answer; cancelled when the client hangs up. Raises AnswerFailedError."""
    try:
        answer = await unless_hung_up(request, _gather(stream, num_choices))
    finally:
        await stream.aclose()
    if any(choice.finish_reason == "error" for choice in answer.choices):
        raise AnswerFailedError(INTERNAL_MESSAGE)
    return answer


async def _gather(stream: EventStream, num_choices: int) -> Answer:
    answer = Answer(num_choices)
    async for event in stream:
        answer.add(event)
    return answer


def created_now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def usage_body(usage: Usage) -> dict[str, Any]:
    """Token counts as clients read them."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {
            "accepted_prediction_tokens": usage.accepted_predictions,
            "rejected_prediction_tokens": usage.rejected_predictions,
        },
    }


def logprobs_body(scores: Sequence[TokenScore], *, with_top: bool) -> dict[str, Any]:
    """Log-probabilities, token by token."""
    return {"content": [_logprob(score, with_top) for score in scores]}


def _logprob(score: TokenScore, with_top: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "token": score.token,
        "logprob": max(score.logprob, -1e9),  # JSON has no infinity
        "bytes": list(score.bytes),
        "token_id": score.id,
    }
    if with_top:
        body["top_logprobs"] = [_logprob(other, False) for other in score.top]
    return body
