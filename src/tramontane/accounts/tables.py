"""The tables of accounts."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import CheckConstraint, Enum, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from tramontane.storage.base import Base, new_id, now

Role = Literal["owner", "admin", "developer", "member", "billing"]

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
    """Who pays: has workspaces, and users as members."""

    __tablename__ = "organisations"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(_Name)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Workspace(Base):
    """Where work is done: keys, limits and usage belong to one."""

    __tablename__ = "workspaces"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), index=True)
    name: Mapped[str] = mapped_column(_Name)
    # Prefix caches are shared within a workspace only. Random, so that nobody can guess a neighbour's.
    cache_salt: Mapped[str] = mapped_column(_Id, default=_new_cache_salt)
    created_at: Mapped[datetime] = mapped_column(default=now)


class User(Base):
    """A person."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    email: Mapped[str | None] = mapped_column(String(320))
    name: Mapped[str] = mapped_column(_Name)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Membership(Base):
    """What a user is in an organisation."""

    __tablename__ = "memberships"

    user_id: Mapped[str] = mapped_column(ForeignKey(User.id), primary_key=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(Enum(*get_args(Role), name="role", native_enum=False, create_constraint=True))


class ApiKey(Base):
    """A key of a workspace, in the name of the user who made it. Of the key itself only a digest is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id))
    name: Mapped[str] = mapped_column(_Name)
    prefix: Mapped[str] = mapped_column(String(9))
    digest: Mapped[str] = mapped_column(_Digest, unique=True)
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
