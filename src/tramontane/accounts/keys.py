"""API keys: made, registered and revoked."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.errors import AccountError
from tramontane.accounts.installation import installation_salt
from tramontane.accounts.owners import first_owner
from tramontane.accounts.secrets import Secret, digest, display_prefix, new_api_key
from tramontane.accounts.tables import ApiKey
from tramontane.storage.base import now

_SHORTEST = 16  # characters of a key that a person chose


async def create_key(session: AsyncSession, workspace_id: str, user_id: str, name: str) -> Secret:
    """A new key of a workspace, in the name of a user. It cannot be shown again."""
    key = new_api_key()
    await _store(session, key, workspace_id, user_id, name)
    return key


async def register_key(session: AsyncSession, key: Secret) -> None:
    """Makes TRAMONTANE_API_KEY, which the user chose, a key of the first workspace; the second time changes nothing.

    Raises AccountError where the key is too easy to guess, cannot be sent in a header, or was revoked.
    """
    _check(key)
    salt = await installation_salt(session, lock=True)  # two processes may register the same key at once
    found = await session.scalar(select(ApiKey).where(ApiKey.digest == digest(salt, key.reveal())))
    if found is None:
        owner = await first_owner(session)
        await _store(session, key, owner.workspace_id, owner.user_id, "TRAMONTANE_API_KEY")
    elif found.revoked_at is not None:
        raise AccountError("The key in TRAMONTANE_API_KEY was revoked: choose another, or unset the variable.")


async def revoke_key(session: AsyncSession, workspace_id: str, key_id: str) -> bool:
    """Ends a key for good; False where the workspace has no such key, or it was revoked before.

    Once the transaction has committed, the caller tells the authenticator to `forget` the key.
    """
    revoke = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.workspace_id == workspace_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=now())
        .returning(ApiKey.id)
    )
    return await session.scalar(revoke) is not None


def _check(key: Secret) -> None:
    text = key.reveal()
    if len(text) < _SHORTEST:
        raise AccountError(f"The key in TRAMONTANE_API_KEY is too short: choose at least {_SHORTEST} characters.")
    if not all("!" <= character <= "~" for character in text):
        raise AccountError(
            "The key in TRAMONTANE_API_KEY holds a blank or a character that no header can carry: "
            "choose letters, digits and punctuation of ASCII."
        )


async def _store(session: AsyncSession, key: Secret, workspace_id: str, user_id: str, name: str) -> None:
    session.add(
        ApiKey(
            workspace_id=workspace_id,
            user_id=user_id,
            name=name,
            prefix=display_prefix(key),
            digest=digest(await installation_salt(session), key.reveal()),
        )
    )
    await session.flush()
