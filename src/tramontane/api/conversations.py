"""/v1/conversations: what was asked and answered, and how it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.answer_events import answer_events
from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.conversation_bodies import conversation_body, conversation_head, message_bodies
from tramontane.api.owned import (
    BUSY,
    OWNED_RESPONSES,
    Before,
    Limit,
    PathId,
    Search,
    changes_of,
    check_json,
    owner_of,
)
from tramontane.api.platform import platform_of, principal_of
from tramontane.api.schemas.conversations import (
    AnswerRequest,
    Asked,
    ConversationBody,
    ConversationChange,
    ConversationDraft,
    ConversationList,
    ExportFormat,
    MessageBody,
    MessagePage,
    Question,
)
from tramontane.api.streams import STREAMED, EventStreamResponse
from tramontane.conversations import store
from tramontane.conversations.asker import Asker
from tramontane.conversations.errors import NotFoundError
from tramontane.conversations.exporting import as_markdown
from tramontane.conversations.ids import id_or_nobodys
from tramontane.conversations.messages import all_messages, branch, find_message, read_page
from tramontane.conversations.tables import ConversationMessage

router = APIRouter(route_class=AuthenticatedRoute, tags=["conversations"], responses=OWNED_RESPONSES)

_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The conversation as a file.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/markdown": {"schema": {"type": "string"}},
        },
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `snapshot` (a MessageBody), `delta` (`content`, `thinking` or `tool_call`), and `end` "
        "(a MessageBody), after which the stream closes.",
        "content": STREAMED,
    }
}

_WHOLE_BRANCH = 1_000_000  # messages


@router.get("/v1/conversations")
async def list_conversations(
    request: Request, query: Search = "", before: Before = None, limit: Limit = 50
) -> ConversationList:
    """Conversations, those that were touched last first; with `query` those whose title or messages hold its words."""
    async with platform_of(request).database.read() as session:
        page, following = await store.list_conversations(session, owner_of(request), query, before, limit)
    return ConversationList(data=[conversation_head(listed) for listed in page], next=following)


@router.post("/v1/conversations")
async def create_conversation(request: Request, body: ConversationDraft) -> ConversationBody:
    """Begin a conversation."""
    settings = body.model_dump(exclude={"document_ids"})
    settings["model"] = _model(request, body.model)
    check_json("tools", body.tools)
    async with platform_of(request).database.write() as session:
        made = await store.create_conversation(session, owner_of(request), settings, body.document_ids)
        return await conversation_body(session, made)


@router.get("/v1/conversations/{conversation_id}")
async def get_conversation(request: Request, conversation_id: PathId) -> ConversationBody:
    """A conversation without its messages."""
    async with platform_of(request).database.read() as session:
        found = await store.find_conversation(session, owner_of(request), conversation_id)
        return await conversation_body(session, found)


@router.patch("/v1/conversations/{conversation_id}")
async def change_conversation(request: Request, conversation_id: PathId, body: ConversationChange) -> ConversationBody:
    """Change what the body names; `head_id` shows another branch, to the newest leaf below that message."""
    changes = changes_of(body, nullable=("temperature", "max_tokens"))
    if "model" in changes:
        changes["model"] = _model(request, changes["model"])
    check_json("tools", changes.get("tools"))
    async with platform_of(request).database.write() as session:
        changed = await store.change_conversation(session, owner_of(request), conversation_id, changes)
        return await conversation_body(session, changed)


@router.delete("/v1/conversations/{conversation_id}", status_code=204)
async def delete_conversation(request: Request, conversation_id: PathId) -> Response:
    """Delete a conversation with its messages and links; answers that are being written are stopped."""
    platform, owner = platform_of(request), owner_of(request)
    async with platform.database.read() as session:
        found = await store.find_conversation(session, owner, conversation_id)
    await platform.answers.stop_conversation(found.id)
    async with platform.database.write() as session:
        await store.delete_conversation(session, owner, found.id)
    await platform.answers.stop_conversation(found.id)  # what was begun in between
    return Response(status_code=204)


@router.get("/v1/conversations/{conversation_id}/messages")
async def list_messages(
    request: Request,
    conversation_id: PathId,
    before: Annotated[str | None, Query(max_length=200, description="The earliest message that is known.")] = None,
    limit: Limit = 50,
) -> MessagePage:
    """The end of the branch that is shown, or the piece of it before a message."""
    owner = owner_of(request)
    async with platform_of(request).database.read() as session:
        found = await store.find_conversation(session, owner, conversation_id)
        page = await read_page(session, found, before and id_or_nobodys(before), limit)
        shown = [*page.messages, *page.compared]
        bodies = await message_bodies(session, owner, shown, siblings=page.siblings, so_far=_so_far(request, shown))
    split = len(page.messages)
    return MessagePage(data=bodies[:split], has_earlier=page.has_earlier, compared=bodies[split:])


@router.get(
    "/v1/conversations/{conversation_id}/export",
    response_class=Response,
    responses=_EXPORTED,
)
async def export_conversation(request: Request, conversation_id: PathId, format: ExportFormat = "json") -> Response:
    """All messages as JSON, or the branch that is shown as Markdown."""
    owner = owner_of(request)
    async with platform_of(request).database.read() as session:
        found = await store.find_conversation(session, owner, conversation_id)
        if format == "markdown":
            messages, _ = await branch(session, found.id, found.head_id, _WHOLE_BRANCH)
            return _file(as_markdown(found, messages), "text/markdown", "md", found.id)
        whole = await conversation_body(session, found)
        bodies = await message_bodies(session, owner, await all_messages(session, found.id))
    # In a thread: of thousands of messages it takes a while, and others' answers go on.
    exported = await asyncio.to_thread(_as_json, whole, bodies)
    return _file(exported, "application/json", "json", found.id)


# ── questions and answers ───────────────────────────────────────────────────────────────────────────────────────────


@router.post("/v1/conversations/{conversation_id}/questions", responses=BUSY)
async def ask_question(request: Request, conversation_id: PathId, body: Question) -> Asked:
    """Ask a question: its answers are written whether or not somebody reads their events."""
    platform, owner = platform_of(request), owner_of(request)
    question, answers = await platform.answers.ask(
        _asker(request), conversation_id, body.content, body.parent_id, body.models
    )
    async with platform.database.read() as session:
        bodies = await message_bodies(session, owner, [question, *answers])
    return Asked(question=bodies[0], answers=bodies[1:])


@router.post("/v1/conversations/{conversation_id}/answers", responses=BUSY)
async def answer_again(request: Request, conversation_id: PathId, body: AnswerRequest) -> MessageBody:
    """Answer a question anew; the earlier answers stay beside it."""
    platform = platform_of(request)
    answer = await platform.answers.answer_again(_asker(request), conversation_id, body.question_id, body.model)
    return await _shown(request, answer)


@router.post("/v1/conversations/{conversation_id}/answers/{answer_id}/continue", responses=BUSY)
async def continue_answer(request: Request, conversation_id: PathId, answer_id: PathId) -> MessageBody:
    """Go on with an answer that was stopped, cut or interrupted."""
    answer = await platform_of(request).answers.go_on(_asker(request), conversation_id, answer_id)
    return await _shown(request, answer)


@router.post("/v1/conversations/{conversation_id}/answers/{answer_id}/stop")
async def stop_answer(request: Request, conversation_id: PathId, answer_id: PathId) -> MessageBody:
    """Stop writing; what is there stays. An answer that has ended is left as it is."""
    found = await _find_answer(request, conversation_id, answer_id)
    await platform_of(request).answers.stop(found.id)
    return await _shown(request, await _find_answer(request, conversation_id, answer_id))


@router.get(
    "/v1/conversations/{conversation_id}/answers/{answer_id}/events",
    response_class=Response,
    responses=_EVENTS,
)
async def follow_answer(request: Request, conversation_id: PathId, answer_id: PathId) -> Response:
    """An answer while it is written: what is there so far, then what is added, then the whole."""
    found = await _find_answer(request, conversation_id, answer_id)
    writing = platform_of(request).answers.being_written(found.id)
    if writing is None and found.state == "writing":  # it has ended since it was read
        found = await _find_answer(request, conversation_id, answer_id)
    place = 0 if writing is None else writing.num_deltas
    first = await _shown(request, found, None if writing is None else writing.so_far())

    async def last() -> MessageBody | None:
        try:
            return await _shown(request, await _find_answer(request, conversation_id, answer_id))
        except NotFoundError:
            return None

    return EventStreamResponse(answer_events(first, writing, place, last))


# ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _model(request: Request, name: str) -> str:
    """The model of a conversation: the first that can chat where none is named; raises UnknownModelError."""
    gateway, principal = platform_of(request).gateway, principal_of(request)
    if name:
        return gateway.card(name, principal).name
    return next((card.name for card in gateway.cards(principal) if card.chat), "")


def _asker(request: Request) -> Asker:
    principal = principal_of(request)
    return Asker(owner_of(request), principal)


async def _find_answer(request: Request, conversation_id: str, answer_id: str) -> ConversationMessage:
    async with platform_of(request).database.read() as session:
        conversation = await store.find_conversation(session, owner_of(request), conversation_id)
        found = await find_message(session, conversation.id, answer_id)
    if found.author != "assistant":
        raise NotFoundError("There is no such answer in this conversation.")
    return found


async def _shown(
    request: Request, message: ConversationMessage, so_far: Mapping[str, Any] | None = None
) -> MessageBody:
    async with platform_of(request).database.read() as session:
        bodies = await message_bodies(session, owner_of(request), [message], so_far={message.id: so_far or {}})
    return bodies[0]


def _so_far(request: Request, messages: Sequence[ConversationMessage]) -> dict[str, Mapping[str, Any]]:
    """What is there by now of the answers that are being written."""
    answers = platform_of(request).answers
    found = {message.id: answers.being_written(message.id) for message in messages if message.state == "writing"}
    return {message_id: writing.so_far() for message_id, writing in found.items() if writing is not None}


def _as_json(whole: ConversationBody, bodies: Sequence[MessageBody]) -> str:
    exported = {
        "conversation": whole.model_dump(mode="json"),
        "messages": [message.model_dump(mode="json") for message in bodies],
    }
    return json.dumps(exported, ensure_ascii=False, indent=1)


def _file(content: str, kind: str, ending: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="conversation-{name}.{ending}"'}
    return Response(content, media_type=kind, headers=headers)
