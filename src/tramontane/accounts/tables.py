"""The tables of accounts."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import JSON, CheckConstraint, Enum, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tramontane.storage.base import Base, new_id, now

Role = Literal["owner", "admin", "developer", "member", "billing"]

AUDIT_START = "0" * 64  # what the first entry of an audit log has for the hash of the one before it

_Id = String(32)
_Digest = String(64)
_Name = String(200)


def _new_cache_salt() -> str:
    return secrets.token_hex(16)


class Installation(Base):
    """One row, made by the first start: the salt by which all secrets of this database are digested."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    salt: Mapped[bytes] = mapped_column(LargeBinary)


class Organisation(Base):
    """Who pays: has workspaces, and users as members. The first one runs the installation: it is the operator."""

    __tablename__ = "organisations"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(_Name)
    is_operator: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    audit_length: Mapped[int] = mapped_column(default=0)  # entries of its audit log
    audit_head: Mapped[str] = mapped_column(_Digest, default=AUDIT_START)  # the hash of the last of them


class Workspace(Base):
    """Where work is done: keys, limits and usage belong to one."""

    __tablename__ = "workspaces"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), index=True)
    name: Mapped[str] = mapped_column(_Name)
    # Prefix caches are shared within a workspace only. Random, so that nobody can guess a neighbour's.
    cache_salt: Mapped[str] = mapped_column(_Id, default=_new_cache_salt)
    # Which offerings its requests may go to (`gateway.policy`); None: any.
    policy: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=now)
    archived_at: Mapped[datetime | None]  # its keys and sessions no longer work; its usage stays


class User(Base):
    """A person."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("oidc_issuer", "oidc_subject"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    email: Mapped[str | None] = mapped_column(String(320), unique=True)  # in lower case
    name: Mapped[str] = mapped_column(_Name)
    password_hash: Mapped[str | None] = mapped_column(String(200))  # argon2id
    oidc_issuer: Mapped[str | None] = mapped_column(String(300))
    oidc_subject: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Membership(Base):
    """What a user is in an organisation."""

    __tablename__ = "memberships"

    user_id: Mapped[str] = mapped_column(ForeignKey(User.id), primary_key=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(Enum(*get_args(Role), name="role", native_enum=False, create_constraint=True))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Invitation(Base):
    """A link by which somebody becomes a member, once."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), index=True)
    digest: Mapped[str] = mapped_column(_Digest, unique=True)
    email: Mapped[str | None] = mapped_column(
        String(320)
    )  # only who has this address may accept; None: who has the link
    role: Mapped[Role] = mapped_column(
        Enum(*get_args(Role), name="invitation_role", native_enum=False, create_constraint=True)
    )
    invited_by: Mapped[str] = mapped_column(ForeignKey(User.id))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[str | None] = mapped_column(ForeignKey(User.id))
    revoked_at: Mapped[datetime | None]


class ApiKey(Base):
    """A key of a workspace, in the name of the user who made it. Of the key itself only a digest is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id))
    name: Mapped[str] = mapped_column(_Name)
    prefix: Mapped[str] = mapped_column(String(9))
    digest: Mapped[str] = mapped_column(_Digest, unique=True)
    scopes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # None: all that its user may do
    models: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # None: all
    rotated_from: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class SignInLink(Base):
    """A link that opens a browser session, once."""

    __tablename__ = "sign_in_links"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    digest: Mapped[str] = mapped_column(_Digest, unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id), index=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class BrowserSession(Base):
    """A browser that is signed in, to one workspace."""

    __tablename__ = "browser_sessions"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    digest: Mapped[str] = mapped_column(_Digest, unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id))
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class AuditEntry(Base):
    """Who did what, when, from where. Rows are only ever added; each holds the digest of the one before it.

    `number` counts from 1 in each organisation without a gap, so a row that was taken out is missed as well as one
    that was changed.
    """

    __tablename__ = "audit_entries"

    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor_id: Mapped[str | None] = mapped_column(_Id)  # no foreign keys: what it tells outlives what it tells of
    actor_name: Mapped[str] = mapped_column(_Name)
    credential: Mapped[str] = mapped_column(String(250))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    target_kind: Mapped[str] = mapped_column(String(40))
    target_id: Mapped[str] = mapped_column(String(250))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous: Mapped[str] = mapped_column(_Digest)
    hash: Mapped[str] = mapped_column(_Digest)


class Setting(Base):
    """What the operator has set for the whole installation, by name."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
