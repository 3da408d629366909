"""Organisations, workspaces, users, and the secrets by which they are known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROLES = ("owner", "admin", "developer", "member", "billing")


def upgrade() -> None:
    """Makes the tables of accounts. There is no way back: who wants an older schema restores a backup."""
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("id = 1", name="one_row"),
    )
    op.create_table("organisations", _id(), _name(), _moment("created_at"))
    op.create_table(
        "workspaces",
        _id(),
        _reference("organisation_id", "organisations.id", index=True),
        _name(),
        sa.Column("cache_salt", sa.String(32), nullable=False),
        _moment("created_at"),
    )
    op.create_table("users", _id(), sa.Column("email", sa.String(320)), _name(), _moment("created_at"))
    op.create_table(
        "memberships",
        _reference("user_id", "users.id", primary_key=True),
        _reference("organisation_id", "organisations.id", primary_key=True, index=True),
        sa.Column("role", sa.Enum(*_ROLES, name="role", native_enum=False, create_constraint=True), nullable=False),
    )
    op.create_table(
        "api_keys",
        _id(),
        _reference("workspace_id", "workspaces.id", index=True),
        _reference("user_id", "users.id"),
        _name(),
        sa.Column("prefix", sa.String(9), nullable=False),
        _digest(),
        _moment("created_at"),
        _moment("expires_at", nullable=True),
        _moment("revoked_at", nullable=True),
        _moment("last_used_at", nullable=True),
    )
    op.create_table(
        "sign_in_links",
        _id(),
        _digest(),
        _reference("user_id", "users.id", index=True),
        _moment("expires_at"),
        _moment("used_at", nullable=True),
    )
    op.create_table(
        "browser_sessions",
        _id(),
        _digest(),
        _reference("user_id", "users.id"),
        _reference("workspace_id", "workspaces.id"),
        _moment("created_at"),
        _moment("expires_at"),
        _moment("revoked_at", nullable=True),
        _moment("last_used_at", nullable=True),
    )


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(32), primary_key=True)


def _name() -> sa.Column[str]:
    return sa.Column("name", sa.String(200), nullable=False)


def _digest() -> sa.Column[str]:
    return sa.Column("digest", sa.String(64), nullable=False, unique=True)


def _moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _reference(name: str, to: str, primary_key: bool = False, index: bool = False) -> sa.Column[str]:
    # index None where there is none: a key's index is the key's own
    return sa.Column(
        name, sa.String(32), sa.ForeignKey(to), primary_key=primary_key, index=index or None, nullable=False
    )
