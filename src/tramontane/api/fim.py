"""POST /v1/fim/completions."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.chat_answers import Shown, streamed_chat, whole_chat
from tramontane.api.errors import RESPONSES
from tramontane.api.generation import begin, note_request, whole
from tramontane.api.platform import exchange_of
from tramontane.api.schemas.chat import ChatCompletion, FimRequest
from tramontane.api.streams import STREAMED, EventStreamResponse
from tramontane.gateway.requests import Fim

router = APIRouter(route_class=AuthenticatedRoute, tags=["completion"])


@router.post(
    "/v1/fim/completions",
    response_model=ChatCompletion,
    responses={**RESPONSES, 200: {"content": STREAMED, "description": "What belongs between prompt and suffix."}},
)
async def fim_completions(request: Request, body: FimRequest) -> Response:
    """Fill in the middle: what belongs between `prompt` and `suffix`."""
    note_request(request, body, body.metadata, body.stream)
    sampling = body.sampling()
    shown = Shown(exchange_of(request).id, body.model, sampling.n)
    stream = await begin(request, body.model, Fim(body.prompt, body.suffix), sampling)
    if body.stream:
        return EventStreamResponse(streamed_chat(shown, stream), stream.aclose)
    return whole_chat(shown, await whole(request, stream, sampling.n))
