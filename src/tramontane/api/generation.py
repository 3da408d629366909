"""From a request to the events of its answer: what chat, fill-in-the-middle, completions and responses share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request

from tramontane.api.errors import INTERNAL_MESSAGE, AnswerFailedError
from tramontane.api.platform import exchange_of, platform_of, principal_of
from tramontane.api.schemas.common import RequestBody
from tramontane.api.streams import unless_hung_up
from tramontane.errors import InvalidRequestError
from tramontane.gateway.answers import Answer, Event, EventStream, TokenScore, Usage
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
    exchange.metadata = {_plain(key)[:_LONGEST_KEY]: _plain(value)[:_LONGEST_VALUE] for key, value in pairs}


def _plain(value: Any) -> str:
    """Text that can be written anywhere: half a surrogate pair cannot."""
    return str(value).encode("utf-8", "replace").decode()


async def begin(request: Request, model: str, prompt: Prompt, sampling: Sampling, suffix: str = "") -> EventStream:
    """Hands the request to the gateway; the stream that comes back has been accepted, and must be closed.

    `suffix` tells the requests of one exchange apart. The salt of cached prefixes is the workspace's: tenants never
    share one, and cannot probe each other's prompts by how fast an answer comes.
    """
    return await unless_hung_up(request, accept(request, model, prompt, sampling, suffix))


async def accept(request: Request, model: str, prompt: Prompt, sampling: Sampling, suffix: str = "") -> EventStream:
    """As `begin`, where a response is being sent, which watches the client itself."""
    exchange = exchange_of(request)
    principal = principal_of(request)
    exchange.route = request.scope["route"].path
    generation = Generation(exchange.id + suffix, prompt, sampling, principal.cache_salt)
    return await platform_of(request).gateway.generate(principal, model, generation, exchange)


async def whole(request: Request, stream: EventStream, num_choices: int) -> Answer:
    """The whole answer; cancelled when the client hangs up. Raises AnswerFailedError."""
    answer = Answer(num_choices)
    await read_whole(request, stream, answer.add)
    return answer


async def read_whole(request: Request, stream: EventStream, add: Callable[[Event], None]) -> None:
    """Reads a stream to its end and closes it; cancelled when the client hangs up. Raises AnswerFailedError."""
    failed = False

    async def read() -> None:
        nonlocal failed
        async for event in stream:
            add(event)
            failed |= event.finish_reason == "error"

    try:
        await unless_hung_up(request, read())
    finally:
        await stream.aclose()
    if failed:
        raise AnswerFailedError(INTERNAL_MESSAGE)


def inputs_of(field: str, given: str | Sequence[Any], most: int) -> list[str | tuple[int, ...]]:
    """One text or its tokens, or several of either, as a list."""
    is_one = isinstance(given, str) or (len(given) > 0 and isinstance(given[0], int))
    several: Sequence[Any] = [given] if is_one else given
    if not 1 <= len(several) <= most:
        raise InvalidRequestError(field, f"{field} must be 1 to {most} texts, not {len(several)}.")
    return [one if isinstance(one, str) else tuple(one) for one in several]


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
