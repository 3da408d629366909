"""Users and workspaces to own conversations, and conversations of some shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.owners import first_owner
from tramontane.accounts.tables import Membership, User, Workspace
from tramontane.conversations.documents import add_document
from tramontane.conversations.extraction import Extracted
from tramontane.conversations.owner import Owner
from tramontane.conversations.passages import cut
from tramontane.conversations.store import create_conversation
from tramontane.conversations.tables import Conversation, ConversationMessage, StoredDocument
from tramontane.storage.database import Database

SETTINGS: Mapping[str, Any] = {"model": "small", "title": ""}


async def owner_of_all(db: Database) -> Owner:
    """The user of the first start."""
    await prepare_accounts(db, None)
    async with db.read() as session:
        found = await first_owner(session)
    return Owner(found.workspace_id, found.user_id)


async def colleague_of(db: Database, owner: Owner, *, workspace: str | None = None) -> Owner:
    """Another user of the same organisation; in the same workspace, or in a new one of this name."""
    async with db.write() as session:
        home = await session.get(Workspace, owner.workspace_id)
        assert home is not None
        user = User(name="Colleague")
        session.add(user)
        await session.flush()
        session.add(Membership(user_id=user.id, organisation_id=home.organisation_id, role="member"))
        if workspace is not None:
            home = Workspace(name=workspace, organisation_id=home.organisation_id)
            session.add(home)
            await session.flush()
        return Owner(home.id, user.id)


async def begin(db: Database, owner: Owner, **settings: Any) -> Conversation:
    """A conversation."""
    async with db.write() as session:
        return await create_conversation(session, owner, {**SETTINGS, **settings}, [])


async def say(
    db: Database, conversation: Conversation, texts: Sequence[str], parent_id: str | None = None
) -> list[ConversationMessage]:
    """Questions and answers in turn, below a message; the last one becomes the head."""
    messages = []
    async with db.write() as session:
        for number, text in enumerate(texts):
            message = ConversationMessage(
                conversation_id=conversation.id,
                parent_id=messages[-1].id if messages else parent_id,
                author="assistant" if number % 2 else "user",
                content=text,
            )
            session.add(message)
            await session.flush()
            messages.append(message)
        stored = await session.get(Conversation, conversation.number)
        assert stored is not None
        stored.head_id = messages[-1].id
    return messages


async def keep(db: Database, owner: Owner, name: str, text: str) -> StoredDocument:
    """A document of plain text."""
    async with db.write() as session:
        extracted = Extracted(text=text, media_type="text/plain", num_pages=None)
        return await add_document(session, owner, name, text.encode(), extracted, cut(text))
