"""Links by which anybody reads one branch of a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.conversation_bodies import share_head, shared_body
from tramontane.api.owned import NOT_FOUND, OWNED_RESPONSES, PathId, owner_of
from tramontane.api.platform import platform_of
from tramontane.api.schemas.conversations import NewShare, SharedConversation
from tramontane.conversations import shares
from tramontane.conversations.messages import branch
from tramontane.conversations.store import find_conversation
from tramontane.conversations.tables import Conversation, ConversationMessage

router = APIRouter(route_class=AuthenticatedRoute, tags=["conversations"], responses=OWNED_RESPONSES)
open_router = APIRouter(tags=["conversations"], responses=NOT_FOUND)

_MOST_SHARED = 5000  # messages, the last ones


@router.post("/v1/conversations/{conversation_id}/shares")
async def share_conversation(request: Request, conversation_id: PathId) -> NewShare:
    """Make a link to the branch that is shown, up to its last message; it is shown once."""
    async with platform_of(request).database.write() as session:
        conversation = await find_conversation(session, owner_of(request), conversation_id)
        share, token = await shares.create_share(session, conversation)
    return NewShare(**share_head(share).model_dump(), path=f"/shared/{token.reveal()}")


@router.delete("/v1/conversations/{conversation_id}/shares/{share_id}", status_code=204)
async def revoke_share(request: Request, conversation_id: PathId, share_id: PathId) -> Response:
    """End a link."""
    async with platform_of(request).database.write() as session:
        conversation = await find_conversation(session, owner_of(request), conversation_id)
        await shares.revoke_share(session, conversation, share_id)
    return Response(status_code=204)


@open_router.get("/v1/shared/{token}", response_model=SharedConversation, openapi_extra={"security": []})
async def read_shared(request: Request, token: Annotated[str, Path(max_length=200)]) -> Response:
    """What a link shows; it needs no other credential."""
    async with platform_of(request).database.read() as session:
        conversation, share = await shares.find_shared(session, token)
        messages, _ = await branch(session, conversation.id, share.head_id, _MOST_SHARED)
    # In a thread: of thousands of messages it takes a while, and others' answers go on.
    shown = await asyncio.to_thread(_as_json, conversation, messages)
    return Response(shown, media_type="application/json")


def _as_json(conversation: Conversation, messages: Sequence[ConversationMessage]) -> str:
    data = [shared_body(message) for message in messages]
    shown = SharedConversation(title=conversation.title, created_at=conversation.created_at, data=data)
    return shown.model_dump_json()
