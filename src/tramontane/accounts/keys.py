"""API keys: made, registered, changed, rotated and revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.errors import AccountError
from tramontane.accounts.installation import installation_salt
from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.owners import first_owner
from tramontane.accounts.secrets import Secret, digest, display_prefix, new_api_key
from tramontane.accounts.tables import ApiKey, User, Workspace
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.storage.base import now

_SHORTEST = 16  # characters of a key that a person chose
_SOON = timedelta(days=7)
_LONGEST = timedelta(days=3653)

State = Literal["active", "expiring", "expired", "revoked"]


@dataclass(frozen=True)
class KeyView:
    """A key with the names of its workspace and its user."""

    key: ApiKey
    workspace: str
    user: str

    @property
    def state(self) -> State:
        """Whether it works, and whether that ends within a week."""
        if self.key.revoked_at is not None:
            return "revoked"
        if self.key.expires_at is None:
            return "active"
        left = self.key.expires_at - now()
        if left <= timedelta(0):
            return "expired"
        return "expiring" if left <= _SOON else "active"


async def create_key(session: AsyncSession, workspace_id: str, user_id: str, name: str) -> Secret:
    """A new key of a workspace, in the name of a user. It cannot be shown again."""
    return (await make_key(session, workspace_id, user_id, name))[1]


async def make_key(
    session: AsyncSession, workspace_id: str, user_id: str, name: str, **fields: Any
) -> tuple[ApiKey, Secret]:
    """As `create_key`, with the row. Raises InvalidRequestError for an `expires_at` that is not to come."""
    _check_expiry(fields.get("expires_at"))
    key = new_api_key()
    return await _store(session, key, workspace_id, user_id, name, **fields), key


async def list_keys(session: AsyncSession, organisation_id: str, user_id: str | None = None) -> Sequence[KeyView]:
    """The organisation's keys, or one user's there, the newest first; also those that no longer work."""
    query = _views(organisation_id).order_by(ApiKey.id.desc())
    if user_id is not None:
        query = query.where(ApiKey.user_id == user_id)
    return [KeyView(*row) for row in await session.execute(query)]


async def find_key(session: AsyncSession, organisation_id: str, user_id: str | None, key_id: str) -> KeyView:
    """One of the keys that `list_keys` shows, for who is about to change it. Raises MissingError."""
    await lock_organisation(session, organisation_id)
    query = _views(organisation_id).where(ApiKey.id == key_id)
    if user_id is not None:
        query = query.where(ApiKey.user_id == user_id)
    row = (await session.execute(query)).first()
    if row is None:
        raise MissingError("There is no such key.")
    return KeyView(*row)


async def change_key(session: AsyncSession, view: KeyView, changes: Mapping[str, Any]) -> None:
    """Sets `name`, `models` or `expires_at`; the authenticator has to `forget` the key afterwards.

    Raises ConflictError where the key was revoked, InvalidRequestError for an `expires_at` that is not to come.
    """
    if view.state == "revoked":
        raise ConflictError("This key was revoked, for good: make another.")
    _check_expiry(changes.get("expires_at"))
    for name, value in changes.items():
        setattr(view.key, name, value)
    await session.flush()


async def rotate_key(session: AsyncSession, view: KeyView, overlap: timedelta) -> tuple[ApiKey, Secret]:
    """A key like this one, which goes on working for `overlap` and no longer than it would have.

    One that was to expire has a successor that lives as long as it was to. The authenticator has to `forget` the old
    key. Raises ConflictError.
    """
    old, moment = view.key, now()
    if view.state in ("revoked", "expired"):
        raise ConflictError("This key does not work any more: make a new one.")
    successor = select(ApiKey.id).where(ApiKey.rotated_from == old.id, ApiKey.revoked_at.is_(None))
    if await session.scalar(successor.limit(1)) is not None:
        raise ConflictError("This key was rotated already: rotate the one that came after it.")
    expires_at = None if old.expires_at is None else moment + (old.expires_at - old.created_at)
    old.expires_at = min(moment + overlap, old.expires_at or moment + overlap)
    key = new_api_key()
    row = await _store(
        session, key, old.workspace_id, old.user_id, old.name,
        scopes=old.scopes, models=old.models, rotated_from=old.id, expires_at=expires_at,
    )  # fmt: skip
    return row, key


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


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and not now() < expires_at <= now() + _LONGEST:
        raise InvalidRequestError("expires_at", "A key expires at a moment to come, and within ten years.")


def _views(organisation_id: str) -> Select[ApiKey, str, str]:
    return (
        select(ApiKey, Workspace.name, User.name)
        .join(Workspace, Workspace.id == ApiKey.workspace_id)
        .join(User, User.id == ApiKey.user_id)
        .where(Workspace.organisation_id == organisation_id)
    )


async def _store(
    session: AsyncSession, key: Secret, workspace_id: str, user_id: str, name: str, **fields: Any
) -> ApiKey:
    row = ApiKey(
        workspace_id=workspace_id,
        user_id=user_id,
        name=name,
        prefix=display_prefix(key),
        digest=digest(await installation_salt(session), key.reveal()),
        **fields,
    )
    session.add(row)
    await session.flush()
    return row
