"""Accounts of a platform: invitations, passwords, sign-in by OIDC, scopes of keys, policies, an audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ROLES = ("owner", "admin", "developer", "member", "billing")
_LONG_AGO = sa.text("'2026-01-01 00:00:00.000000'")  # of memberships from before they had a date


def upgrade() -> None:
    """Adds columns and tables. The first organisation is the operator's."""
    with op.batch_alter_table("organisations") as organisations:
        organisations.add_column(sa.Column("is_operator", sa.Boolean, nullable=False, server_default=sa.false()))
        organisations.add_column(sa.Column("audit_length", sa.Integer, nullable=False, server_default="0"))
        organisations.add_column(sa.Column("audit_head", sa.String(64), nullable=False, server_default="0" * 64))
    op.execute("UPDATE organisations SET is_operator = true WHERE id = (SELECT min(id) FROM organisations)")
    with op.batch_alter_table("workspaces") as workspaces:
        workspaces.add_column(sa.Column("policy", sa.JSON))
        workspaces.add_column(sa.Column("archived_at", sa.DateTime(timezone=True)))
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("password_hash", sa.String(200)))
        users.add_column(sa.Column("oidc_issuer", sa.String(300)))
        users.add_column(sa.Column("oidc_subject", sa.String(255)))
        users.create_unique_constraint("uq_users_email", ["email"])
        users.create_unique_constraint("uq_users_oidc_issuer_oidc_subject", ["oidc_issuer", "oidc_subject"])
    with op.batch_alter_table("memberships") as memberships:
        memberships.add_column(
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=_LONG_AGO)
        )
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("scopes", sa.JSON))
        keys.add_column(sa.Column("models", sa.JSON))
        keys.add_column(sa.Column("rotated_from", sa.String(32)))
        keys.create_foreign_key("fk_api_keys_rotated_from_api_keys", "api_keys", ["rotated_from"], ["id"])
    _make_tables()


def _make_tables() -> None:
    role = sa.Enum(*_ROLES, name="invitation_role", native_enum=False, create_constraint=True)
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(32), primary_key=True),
        _reference("organisation_id", "organisations.id", index=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("email", sa.String(320)),
        sa.Column("role", role, nullable=False),
        _reference("invited_by", "users.id"),
        _moment("created_at"),
        _moment("expires_at"),
        _moment("accepted_at", nullable=True),
        sa.Column("accepted_by", sa.String(32), sa.ForeignKey("users.id")),
        _moment("revoked_at", nullable=True),
    )
    op.create_table(
        "audit_entries",
        _reference("organisation_id", "organisations.id", primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        _moment("at"),
        sa.Column("actor_id", sa.String(32)),
        sa.Column("actor_name", sa.String(200), nullable=False),
        sa.Column("credential", sa.String(250), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target_kind", sa.String(40), nullable=False),
        sa.Column("target_id", sa.String(250), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "settings", sa.Column("name", sa.String(64), primary_key=True), sa.Column("value", sa.JSON, nullable=False)
    )


def _moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _reference(name: str, to: str, primary_key: bool = False, index: bool = False) -> sa.Column[str]:
    return sa.Column(
        name, sa.String(32), sa.ForeignKey(to), primary_key=primary_key, index=index or None, nullable=False
    )
