"""POST /v1/completions: OpenAI's older form, which tools for evaluation and editors still speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.errors import RESPONSES
from tramontane.api.generation import accept, begin, created_now, inputs_of, note_request, read_whole, usage_body
from tramontane.api.platform import exchange_of, platform_of, principal_of
from tramontane.api.schemas.completions import Completion, CompletionRequest
from tramontane.api.streams import DONE, STREAMED, EventStreamResponse, event, json_response
from tramontane.errors import InvalidRequestError, TramontaneError
from tramontane.gateway.answers import Answer, Choice, Event, EventStream, TokenScore, Usage
from tramontane.gateway.requests import Continuation, Fim, Prompt, Sampling
from tramontane.tokenizer.tool_calls import Text

router = APIRouter(route_class=AuthenticatedRoute, tags=["completion"])

_MOST_PROMPTS = 128


@dataclass
class _Prompts:
    """The prompts of one request, each accepted by the gateway as a request of its own.

    Each begins when those before it have ended, whose money is back then: all at once they would wait for each other.
    """

    prompts: list[Prompt]
    sampling: Sampling
    texts: list[str]  # what an echo repeats
    # An echo's first token has no score. Of a text it is <s>, which is not shown; of given tokens it is one to show.
    unscored: list[str | None]
    streams: list[EventStream] = field(default_factory=list)
    refusal: str | None = None  # of one that is streamed, while the response is on its way

    async def close(self) -> None:
        for stream in self.streams:
            await stream.aclose()


@router.post(
    "/v1/completions",
    response_model=Completion,
    responses={**RESPONSES, 200: {"content": STREAMED, "description": "Continuations; a stream of them on demand."}},
)
async def completions(request: Request, body: CompletionRequest) -> Response:
    """Continue a text as it is, without a chat template."""
    note_request(request, body, body.metadata, body.stream)
    prompts = _prompts(body)
    if body.best_of is not None and body.best_of > (body.n or 1):
        raise InvalidRequestError("best_of", "best_of above n is not supported: ask for n answers and choose.")
    if body.suffix and body.echo:
        raise InvalidRequestError("echo", "A gap that is filled has no beginning to repeat: leave out echo or suffix.")
    wants_prompt_scores = body.echo and body.logprobs is not None
    sampling = body.sampling(logprobs=body.logprobs, prompt_logprobs=body.logprobs if wants_prompt_scores else None)
    echoed = [await _echoed(request, body, prompt) if body.echo else ("", None) for prompt in prompts]
    begun = _Prompts(prompts, sampling, [text for text, _ in echoed], [first for _, first in echoed])
    # What is refused at once is refused with its status, streamed or not.
    begun.streams.append(await begin(request, body.model, prompts[0], sampling, suffix="-0"))
    if body.stream:
        return EventStreamResponse(_streamed(request, body, begun), begun.close)
    return await _whole(request, body, begun)


def _prompts(body: CompletionRequest) -> list[Prompt]:
    several = inputs_of("prompt", body.prompt, _MOST_PROMPTS)
    if not body.suffix:
        return [Continuation(prompt) for prompt in several]
    texts = [prompt for prompt in several if isinstance(prompt, str)]
    if len(texts) < len(several):
        raise InvalidRequestError("prompt", "With a suffix the prompt must be a text.")
    return [Fim(text, body.suffix) for text in texts]


async def _echoed(request: Request, body: CompletionRequest, prompt: Prompt) -> tuple[str, str | None]:
    """The prompt as text, and the text of its first token where tokens were given."""
    assert isinstance(prompt, Continuation)
    if isinstance(prompt.prompt, str):
        return prompt.prompt, None
    gateway, exchange, principal = platform_of(request).gateway, exchange_of(request), principal_of(request)
    tokens = list(prompt.prompt)
    whole = await gateway.detokenize(principal, body.model, tokens, exchange)
    return whole, await gateway.detokenize(principal, body.model, tokens[:1], exchange)


async def _whole(request: Request, body: CompletionRequest, begun: _Prompts) -> Response:
    answers = [Answer(begun.sampling.n) for _ in begun.prompts]
    for number, answer in enumerate(answers):
        if number:
            prompt, suffix = begun.prompts[number], f"-{number}"
            begun.streams.append(await begin(request, body.model, prompt, begun.sampling, suffix))
        await read_whole(request, begun.streams[number], answer.add)
    choices = [choice for answer in answers for choice in answer.choices]
    reply = {
        "id": exchange_of(request).id,
        "object": "text_completion",
        "created": created_now(),
        "model": body.model,
        "choices": [_choice(body, begun, choices, index) for index in range(len(choices))],
        "usage": usage_body(_sum(answers)),
    }
    return json_response(reply)


def _choice(body: CompletionRequest, begun: _Prompts, choices: Sequence[Choice], index: int) -> dict[str, Any]:
    choice = choices[index]
    number, of_prompt = index // begun.sampling.n, index % begun.sampling.n
    echoed = begun.texts[number]
    logprobs = None
    if body.logprobs is not None and body.echo:
        # Every choice repeats the prompt; its scores come once, with the first.
        of_first = choices[index - of_prompt].prompt_scores or ()
        logprobs = _logprobs([*of_first, *choice.scores], begun.unscored[number], 0)
    elif body.logprobs is not None:
        logprobs = _logprobs(choice.scores, None, 0)
    return {
        "index": index,
        "text": echoed + choice.text,
        "finish_reason": choice.finish_reason,
        "logprobs": logprobs,
    }


def _logprobs(scores: Sequence[TokenScore], first: str | None, offset: int) -> dict[str, Any]:
    tokens = [*([] if first is None else [first]), *(score.token for score in scores)]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    unscored = [] if first is None else [None]
    return {
        "tokens": tokens,
        "token_logprobs": [*unscored, *(score.logprob for score in scores)],
        "top_logprobs": [*unscored, *({other.token: other.logprob for other in score.top} for score in scores)],
        "text_offset": offsets,
    }


def _sum(answers: Sequence[Answer]) -> Usage:
    usages = [answer.usage for answer in answers]
    return Usage(sum(u.prompt for u in usages), sum(u.cached for u in usages), sum(u.output for u in usages))


async def _streamed(request: Request, body: CompletionRequest, begun: _Prompts) -> AsyncIterator[bytes]:
    head = {
        "id": exchange_of(request).id,
        "object": "text_completion",
        "created": created_now(),
        "model": body.model,
    }
    n, answers = begun.sampling.n, [Answer(begun.sampling.n) for _ in begun.prompts]
    for number, answer in enumerate(answers):
        choices = [_StreamedChoice(body, begun, number, index) for index in range(n)]
        async for added in _events(request, body, begun, number):
            answer.add(added)
            choice = choices[added.index].read(added, answer.choices[0].prompt_scores)
            if choice is not None:
                yield event({**head, "choices": [choice]})
    # With the usage there are choices: a chunk without any breaks some readers.
    last = {"index": len(answers) * n - 1, "text": "", "finish_reason": answers[-1].choices[-1].finish_reason}
    yield event({**head, "choices": [{**last, "logprobs": None}], "usage": usage_body(_sum(answers))})
    yield DONE


async def _events(request: Request, body: CompletionRequest, begun: _Prompts, number: int) -> AsyncIterator[Event]:
    """What one prompt is answered. One that is refused fails, and so do those behind it, for the same reason."""
    if number == len(begun.streams) and begun.refusal is None:
        prompt, suffix = begun.prompts[number], f"-{number}"
        try:
            begun.streams.append(await accept(request, body.model, prompt, begun.sampling, suffix))
        except TramontaneError as error:
            begun.refusal = str(error)
    if begun.refusal is not None:
        for index in range(begun.sampling.n):
            failed = Event(index, finish_reason="error", detail=begun.refusal)
            exchange_of(request).observe(failed)
            yield failed
        return
    async for added in begun.streams[number]:
        yield added


class _StreamedChoice:
    """One choice of a stream: what it has said, and where in the text its next token stands."""

    def __init__(self, body: CompletionRequest, begun: _Prompts, number: int, index: int) -> None:
        self._scored = body.logprobs is not None
        self._index = number * begun.sampling.n + index
        self._echo, self._unscored = begun.texts[number], begun.unscored[number]
        self._offset = 0

    def read(self, added: Event, prompt_scores: Sequence[TokenScore] | None) -> dict[str, Any] | None:
        """What an event adds; None where that is nothing. Each choice repeats the prompt's scores, which come once."""
        text = self._echo + "".join(part.text for part in added.parts if isinstance(part, Text))
        scores, first = [*added.scores], None
        if self._echo and prompt_scores is not None:
            scores, first = [*prompt_scores, *scores], self._unscored
        self._echo = ""
        logprobs = None
        if self._scored and scores:
            logprobs = _logprobs(scores, first, self._offset)
            self._offset += sum(map(len, logprobs["tokens"]))
        if not text and logprobs is None and added.finish_reason is None:
            return None
        return {"index": self._index, "text": text, "finish_reason": added.finish_reason, "logprobs": logprobs}
