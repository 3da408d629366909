"""Links by which anybody reads one branch of a conversation. Of their tokens only digests are kept."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.installation import installation_salt
from tramontane.accounts.secrets import Secret, digest, new_token
from tramontane.conversations.errors import NotFoundError
from tramontane.conversations.tables import Conversation, Share
from tramontane.errors import InvalidRequestError
from tramontane.storage.base import now


async def create_share(session: AsyncSession, conversation: Conversation) -> tuple[Share, Secret]:
    """A link to the shown branch as it is now; its token cannot be shown again. Raises InvalidRequestError."""
    if conversation.head_id is None:
        raise InvalidRequestError("conversation_id", "There is nothing to share yet: ask a question first.")
    token, salt = new_token(), await installation_salt(session)
    share = Share(conversation_id=conversation.id, digest=digest(salt, token.reveal()), head_id=conversation.head_id)
    session.add(share)
    await session.flush()
    return share, token


async def shares_of(session: AsyncSession, conversation_id: str) -> Sequence[Share]:
    """The links that are good, the oldest first."""
    query = select(Share).where(Share.conversation_id == conversation_id, Share.revoked_at.is_(None))
    return (await session.scalars(query.order_by(Share.id))).all()


async def revoke_share(session: AsyncSession, conversation: Conversation, share_id: str) -> None:
    """Ends a link; raises NotFoundError where there is none, or it was ended before."""
    ended = (
        update(Share)
        .where(Share.id == share_id, Share.conversation_id == conversation.id, Share.revoked_at.is_(None))
        .values(revoked_at=now())
        .returning(Share.id)
    )
    if await session.scalar(ended) is None:
        raise NotFoundError("There is no such link.")


async def find_shared(session: AsyncSession, token: str) -> tuple[Conversation, Share]:
    """What a link shows; raises NotFoundError where it is unknown or was revoked. Its holder needs no other right."""
    known = Share.digest == digest(await installation_salt(session), token)
    query = select(Conversation, Share).join(Share, Share.conversation_id == Conversation.id)
    row = (await session.execute(query.where(known, Share.revoked_at.is_(None)))).first()
    if row is None:
        raise NotFoundError("There is no such link, or it was revoked.")
    return row[0], row[1]
