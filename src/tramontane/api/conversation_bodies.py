"""Rows of conversations as the web app reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.api.schemas.conversations import (
    ConversationBody,
    ConversationHead,
    DocumentHead,
    MessageBody,
    ShareHead,
)
from tramontane.conversations.documents import attached, still_there
from tramontane.conversations.messages import siblings_of
from tramontane.conversations.owner import Owner
from tramontane.conversations.shares import shares_of
from tramontane.conversations.store import Listed
from tramontane.conversations.tables import Conversation, ConversationMessage, Share, StoredDocument

_KEPT = [name for name in MessageBody.model_fields if name != "siblings"]


async def conversation_body(session: AsyncSession, conversation: Conversation) -> ConversationBody:
    """A conversation without its messages."""
    documents, shares = await attached(session, conversation.id), await shares_of(session, conversation.id)
    fields = {name: getattr(conversation, name) for name in ConversationBody.model_fields if name not in _OF_OTHERS}
    return ConversationBody(
        **fields,
        documents=[document_head(document) for document in documents],
        shares=[share_head(share) for share in shares],
    )


_OF_OTHERS = ("documents", "shares")


def conversation_head(listed: Listed) -> ConversationHead:
    """A conversation in a list."""
    conversation = listed.conversation
    return ConversationHead(
        id=conversation.id,
        title=conversation.title,
        model=conversation.model,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        excerpt=listed.excerpt,
        hit_id=listed.hit_id,
    )


def document_head(document: StoredDocument) -> DocumentHead:
    """A document without its text."""
    return DocumentHead(**{name: getattr(document, name) for name in DocumentHead.model_fields})


def share_head(share: Share) -> ShareHead:
    """A link without its token."""
    return ShareHead(id=share.id, created_at=share.created_at, head_id=share.head_id)


async def message_bodies(
    session: AsyncSession,
    owner: Owner,
    messages: Sequence[ConversationMessage],
    *,
    siblings: Mapping[str, list[str]] | None = None,
    so_far: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[MessageBody]:
    """Messages of one conversation; `so_far` has what is there by now of those that are being written."""
    if not messages:
        return []
    if siblings is None:
        siblings = await siblings_of(session, messages[0].conversation_id, messages)
    there = await still_there(session, owner, _quoted(messages))
    return [
        message_body(message, siblings[message.id], there, (so_far or {}).get(message.id, {})) for message in messages
    ]


def message_body(
    message: ConversationMessage,
    siblings: list[str],
    documents: Collection[str],
    so_far: Mapping[str, Any],
) -> MessageBody:
    """One message; quotes of documents that are not among `documents` tell no document."""
    fields = {**{name: getattr(message, name) for name in _KEPT}, **so_far, "siblings": siblings}
    fields["quotes"] = [
        quote if quote["document_id"] in documents else {**quote, "document_id": None} for quote in fields["quotes"]
    ]
    return MessageBody(**fields)


def shared_body(message: ConversationMessage) -> MessageBody:
    """A message as a link shows it: of documents their names and what was quoted, and no other branch."""
    body = message_body(message, [message.id], (), {})
    given = [document.model_copy(update={"document_id": None, "passages": []}) for document in body.given]
    return body.model_copy(update={"given": given, "not_given": [], "compared_with": None})


def _quoted(messages: Iterable[ConversationMessage]) -> set[str]:
    return {quote["document_id"] for message in messages for quote in message.quotes}
