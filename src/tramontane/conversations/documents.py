"""The library: documents kept as text, cut into passages, and attached to conversations."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from tramontane.conversations.errors import NotFoundError, TooManyDocumentsError
from tramontane.conversations.owner import Owner
from tramontane.conversations.passages import Span
from tramontane.conversations.plain_text import storable
from tramontane.conversations.tables import Attachment, Passage, StoredDocument
from tramontane.storage.cursors import comes_after, cursor_of

if TYPE_CHECKING:
    from tramontane.conversations.extraction import Extracted

MOST_ATTACHED = 100
"""Documents of one conversation; a prompt of which each gets a number and a passage is long enough."""

MOST_CHARACTERS = 20_000_000
"""Of the documents of one conversation together: each of its answers reads them all."""


async def same_document(session: AsyncSession, owner: Owner, name: str, content: bytes) -> StoredDocument | None:
    """The document that was made of this very file under this name, without its text."""
    digest = await asyncio.to_thread(hashlib.sha256, content)  # others' answers go on
    is_same = (StoredDocument.name == name, StoredDocument.digest == digest.hexdigest())
    return await session.scalar(select(StoredDocument).where(owner.owns(StoredDocument), *is_same).limit(1))


async def add_document(
    session: AsyncSession, owner: Owner, name: str, content: bytes, extracted: Extracted, spans: Sequence[Span]
) -> StoredDocument:
    """Keeps the text of a file with its passages, which are `passages.cut`'s; of the file itself its digest."""
    text = storable(extracted.text)
    digest = await asyncio.to_thread(hashlib.sha256, content)
    document = StoredDocument(
        workspace_id=owner.workspace_id,
        user_id=owner.user_id,
        name=name,
        media_type=extracted.media_type,
        digest=digest.hexdigest(),
        num_bytes=len(content),
        num_pages=extracted.num_pages,
        num_characters=len(text),
        text=text,
    )
    session.add(document)
    await session.flush()
    passages = [
        {"document_id": document.id, "number": number, "start": start, "end": end, "text": text[start:end]}
        for number, (start, end) in enumerate(spans)
    ]
    if passages:
        await session.execute(insert(Passage), passages)
    return document


async def list_documents(
    session: AsyncSession, owner: Owner, query: str, before: str | None, limit: int
) -> tuple[list[StoredDocument], str | None]:
    """Documents whose names hold each word of the query, the newest first, and the cursor of the next page."""
    listed = select(StoredDocument).where(owner.owns(StoredDocument))
    for word in storable(query).split():
        listed = listed.where(StoredDocument.name.icontains(word, autoescape=True))
    if before is not None:
        listed = listed.where(comes_after(before, StoredDocument.created_at, StoredDocument.id))
    listed = listed.order_by(StoredDocument.created_at.desc(), StoredDocument.id.desc()).limit(limit + 1)
    found = (await session.scalars(listed)).all()
    page = list(found[:limit])
    return page, cursor_of(page[-1].created_at, page[-1].id) if len(found) > limit else None


async def find_document(session: AsyncSession, owner: Owner, document_id: str) -> StoredDocument:
    """With its text; raises NotFoundError."""
    query = select(StoredDocument).where(StoredDocument.id == document_id, owner.owns(StoredDocument))
    found = await session.scalar(query.options(undefer(StoredDocument.text)))
    if found is None:
        raise NotFoundError("There is no such document.")
    return found


async def delete_document(session: AsyncSession, owner: Owner, document_id: str) -> None:
    """With its passages; conversations lose it. Raises NotFoundError."""
    gone = delete(StoredDocument).where(StoredDocument.id == document_id, owner.owns(StoredDocument))
    if await session.scalar(gone.returning(StoredDocument.id)) is None:
        raise NotFoundError("There is no such document.")


async def attach(session: AsyncSession, owner: Owner, conversation_id: str, document_ids: Sequence[str]) -> None:
    """Makes these the documents of a conversation, in this order.

    Raises NotFoundError where one is not the owner's, or TooManyDocumentsError.
    """
    wanted = list(dict.fromkeys(document_ids))
    if len(wanted) > MOST_ATTACHED:
        raise TooManyDocumentsError(f"A conversation has at most {MOST_ATTACHED} documents, not {len(wanted)}.")
    query = select(StoredDocument.id, StoredDocument.num_characters)
    owned = await session.execute(query.where(StoredDocument.id.in_(wanted), owner.owns(StoredDocument)))
    lengths = {document_id: length for document_id, length in owned}
    if lengths.keys() != set(wanted):
        raise NotFoundError("There is no such document.")
    if (length := sum(lengths.values())) > MOST_CHARACTERS:
        raise TooManyDocumentsError(
            f"The documents of a conversation have at most {MOST_CHARACTERS:,} characters, not {length:,}."
        )
    await session.execute(delete(Attachment).where(Attachment.conversation_id == conversation_id))
    session.add_all(
        Attachment(conversation_id=conversation_id, document_id=document_id, position=position)
        for position, document_id in enumerate(wanted)
    )
    await session.flush()


async def attached(session: AsyncSession, conversation_id: str, *, texts: bool = False) -> list[StoredDocument]:
    """The documents of a conversation in their order. Whose the conversation is is the caller's to see to."""
    query = (
        select(StoredDocument)
        .join(Attachment, Attachment.document_id == StoredDocument.id)
        .where(Attachment.conversation_id == conversation_id)
        .order_by(Attachment.position)
    )
    return list(await session.scalars(query.options(undefer(StoredDocument.text)) if texts else query))


async def still_there(session: AsyncSession, owner: Owner, document_ids: Iterable[str]) -> set[str]:
    """Those of the documents that were not deleted."""
    wanted = set(document_ids)
    if not wanted:
        return set()
    query = select(StoredDocument.id).where(StoredDocument.id.in_(wanted), owner.owns(StoredDocument))
    return set(await session.scalars(query))
