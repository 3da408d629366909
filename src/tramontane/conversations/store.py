"""Conversations: begun, found, changed, listed and deleted, by their owner alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.conversations.documents import attach
from tramontane.conversations.errors import NotFoundError
from tramontane.conversations.full_text import (
    SEARCHED_CHARACTERS,
    excerpt,
    message_matches,
    title_matches,
    words_of,
)
from tramontane.conversations.messages import newest_leaf
from tramontane.conversations.owner import Owner
from tramontane.conversations.tables import Conversation, ConversationMessage
from tramontane.storage.cursors import comes_after, cursor_of

_TITLE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Listed:
    """A conversation in a list; of a search also the words around the first hit, and the message with it."""

    conversation: Conversation
    excerpt: str | None = None
    hit_id: str | None = None


async def find_conversation(
    session: AsyncSession, owner: Owner, conversation_id: str, *, lock: bool = False
) -> Conversation:
    """Raises NotFoundError. `lock`: nobody else changes it until the transaction ends."""
    query = select(Conversation).where(Conversation.id == conversation_id, owner.owns(Conversation))
    # SQLite knows no FOR UPDATE and needs none: there only one transaction writes at a time.
    found = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFoundError("There is no such conversation.")
    return found


async def create_conversation(
    session: AsyncSession, owner: Owner, settings: Mapping[str, Any], document_ids: Sequence[str]
) -> Conversation:
    """A new conversation; `settings` are its columns. Raises NotFoundError for a document, or TooManyDocumentsError."""
    made = Conversation(workspace_id=owner.workspace_id, user_id=owner.user_id, head_id=None, **settings)
    session.add(made)
    await session.flush()
    await attach(session, owner, made.id, document_ids)
    return made


async def change_conversation(
    session: AsyncSession, owner: Owner, conversation_id: str, changes: Mapping[str, Any]
) -> Conversation:
    """Sets columns, `head_id` to the newest leaf below the message, and `document_ids`; raises as `create` does."""
    conversation = await find_conversation(session, owner, conversation_id, lock=True)
    for name, value in changes.items():
        if name == "head_id":
            conversation.head_id = await newest_leaf(session, conversation.id, value)
        elif name == "document_ids":
            await attach(session, owner, conversation.id, value)
        else:
            setattr(conversation, name, value)
    return conversation


async def delete_conversation(session: AsyncSession, owner: Owner, conversation_id: str) -> None:
    """With its messages, links and attachments; raises NotFoundError."""
    gone = delete(Conversation).where(Conversation.id == conversation_id, owner.owns(Conversation))
    if await session.scalar(gone.returning(Conversation.id)) is None:
        raise NotFoundError("There is no such conversation.")


async def list_conversations(
    session: AsyncSession, owner: Owner, query: str, before: str | None, limit: int
) -> tuple[list[Listed], str | None]:
    """A page, and the cursor of the next one; raises InvalidRequestError. A query without any word finds nothing."""
    words = words_of(query)
    if query.strip() and not words:
        return [], None
    listed = _search(session, owner, words) if words else select(Conversation).where(owner.owns(Conversation))
    if before is not None:
        listed = listed.where(comes_after(before, Conversation.updated_at, Conversation.id))
    listed = listed.order_by(Conversation.updated_at.desc(), Conversation.id.desc()).limit(limit + 1)
    rows = (await session.execute(listed)).all()
    # In a thread: of long messages the words around a hit take a while.
    page = await asyncio.to_thread(lambda: [_listed(row, words) for row in rows[:limit]])
    last = page[-1].conversation if len(rows) > limit else None
    return page, None if last is None else cursor_of(last.updated_at, last.id)


def _search(session: AsyncSession, owner: Owner, words: list[str]) -> Any:
    """Conversations with the first of their messages that holds all words; it may stand in any branch."""
    hits = (
        select(ConversationMessage.conversation_id, func.min(ConversationMessage.number).label("number"))
        .join(Conversation, Conversation.id == ConversationMessage.conversation_id)
        .where(owner.owns(Conversation), message_matches(session, words))
        .group_by(ConversationMessage.conversation_id)
        .subquery()
    )
    content = func.substr(ConversationMessage.content, 1, SEARCHED_CHARACTERS)
    return (
        select(Conversation, ConversationMessage.id, content)
        .outerjoin(hits, hits.c.conversation_id == Conversation.id)
        .outerjoin(ConversationMessage, ConversationMessage.number == hits.c.number)
        .where(owner.owns(Conversation), or_(title_matches(session, words), hits.c.number.is_not(None)))
    )


def _listed(row: Any, words: list[str]) -> Listed:
    if not words:
        return Listed(row[0])
    conversation, hit_id, content = row
    return Listed(conversation, None if content is None else excerpt(content, words), hit_id)


def title_of(question: str) -> str:
    """A title for a conversation that has none: the first words of its first question."""
    line = next((line for line in (" ".join(line.split()) for line in question.splitlines()) if line), "")
    if len(line) <= _TITLE_LENGTH:
        return line
    cut = line[:_TITLE_LENGTH]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut else cut}…"
