"""POST /v1/responses: OpenAI's newer form, without state: each request brings its whole conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.errors import RESPONSES
from tramontane.api.generation import begin, note_request, read_whole
from tramontane.api.platform import exchange_of
from tramontane.api.response_input import response_chat, response_sampling
from tramontane.api.response_output import ResponseWriter
from tramontane.api.schemas.responses import ResponseBody, ResponseRequest
from tramontane.api.streams import STREAMED, EventStreamResponse, event, json_response
from tramontane.gateway.answers import EventStream

router = APIRouter(route_class=AuthenticatedRoute, tags=["responses"])


@router.post(
    "/v1/responses",
    response_model=ResponseBody,
    responses={**RESPONSES, 200: {"content": STREAMED, "description": "The response; its events on demand."}},
)
async def create_response(request: Request, body: ResponseRequest) -> Response:
    """Answer a conversation, whole or as a stream of named events; nothing is stored."""
    note_request(request, body, body.metadata, body.stream)
    stream = await begin(request, body.model, response_chat(body), response_sampling(body))
    writer = ResponseWriter(exchange_of(request).id, body)
    if body.stream:
        return EventStreamResponse(_streamed(writer, stream), stream.aclose)
    await read_whole(request, stream, writer.write)
    return json_response(writer.response)


async def _streamed(writer: ResponseWriter, stream: EventStream) -> AsyncIterator[bytes]:
    for name, data in writer.begin():
        yield event(data, name)
    async for added in stream:
        for name, data in writer.add(added):
            yield event(data, name)
