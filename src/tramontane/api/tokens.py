"""POST /tokenize and /detokenize: what a text costs before it is sent."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.errors import RESPONSES
from tramontane.api.generation import note_request
from tramontane.api.platform import exchange_of, platform_of, principal_of
from tramontane.api.schemas.tokens import DetokenizedText, DetokenizeRequest, TokenizeRequest, Tokens
from tramontane.errors import InvalidRequestError
from tramontane.gateway.requests import Chat, Continuation, Prompt

router = APIRouter(route_class=AuthenticatedRoute, tags=["tokens"], responses=RESPONSES)


@router.post("/tokenize")
async def tokenize(request: Request, body: TokenizeRequest) -> Tokens:
    """The tokens that the model would be given for a text or a conversation."""
    note_request(request, body)
    gateway, principal = platform_of(request).gateway, principal_of(request)
    tokens = await gateway.tokenize(principal, body.model, _prompt(body), exchange_of(request))
    return Tokens(tokens=tokens, count=len(tokens), max_model_len=gateway.card(body.model, principal).max_context)


@router.post("/detokenize")
async def detokenize(request: Request, body: DetokenizeRequest) -> DetokenizedText:
    """The text of tokens."""
    note_request(request, body)
    gateway, principal = platform_of(request).gateway, principal_of(request)
    text = await gateway.detokenize(principal, body.model, body.tokens, exchange_of(request))
    return DetokenizedText(prompt=text)


def _prompt(body: TokenizeRequest) -> Prompt:
    if (body.prompt is None) == (body.messages is None):
        raise InvalidRequestError("prompt", "Give either prompt or messages.")
    if body.messages is not None:
        return Chat(body.messages, tools=body.tools or [])
    assert body.prompt is not None
    return Continuation(body.prompt)
