"""Lots, the ledger, holds, usage, limits, budgets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # which counts up INTEGER keys only
_OPEN = sa.text("delivered_at IS NULL")
_TRANSFER_KINDS = ("top_up", "charge", "expiry", "shortfall", "cancellation", "return")


def upgrade() -> None:
    """Makes the tables of billing."""
    _make_ledger()
    _make_lot_hours()
    _make_holds()
    _make_usage()
    _make_limits()
    _make_budgets()


def _make_ledger() -> None:
    op.create_table(
        "lots",
        _id(),
        _reference("organisation_id", "organisations.id"),
        sa.Column("kind", _words("credit", "commitment", "pay_as_you_go", "free", name="lot_kind"), nullable=False),
        _text("name", 200),
        *_amounts("amount", "balance", "held"),
        _moment("starts_at"),
        _moment("ends_at", nullable=True),
        sa.Column("models", sa.JSON),
        sa.Column("state", _words("active", "completed", "expired", "cancelled", name="lot_state"), nullable=False),
        _moment("created_at"),
        sa.Column("created_by", sa.String(32)),
        sa.CheckConstraint("amount >= 0 AND balance >= 0 AND held >= 0 AND held <= balance", name="never_overdrawn"),
        sa.Index("ix_lots_organisation", "organisation_id", "state"),
    )
    op.create_table(
        "transfers",
        _id(),
        _reference("organisation_id", "organisations.id"),
        sa.Column("kind", _words(*_TRANSFER_KINDS, name="transfer_kind"), nullable=False),
        sa.Column("usage_id", sa.String(64), unique=True),
        _moment("at"),
        sa.Index("ix_transfers_organisation", "organisation_id", "at"),
    )
    op.create_table(
        "postings",
        sa.Column("number", _NUMBER, primary_key=True),
        _reference("transfer_id", "transfers.id", index=True),
        _text("account", 32),
        *_amounts("amount"),
        sa.Index("ix_postings_account", "account"),
    )


def _make_lot_hours() -> None:
    op.create_table(
        "lot_hours",
        _text("lot_id", 32, primary_key=True),
        sa.Column("hour", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("kind", _words(*_TRANSFER_KINDS, name="lot_hour_kind"), primary_key=True),
        *_amounts("amount"),
    )
    if op.get_bind().dialect.name == "sqlite":
        hour = "substr(at, 1, 13) || ':00:00.000000'"  # moments are text there
    else:
        hour = "date_trunc('hour', at, 'UTC')"
    add = (
        f"INSERT INTO lot_hours (lot_id, hour, kind, amount) SELECT new.account, {hour}, kind, new.amount "
        "FROM transfers WHERE id = new.transfer_id "
        "ON CONFLICT (lot_id, hour, kind) DO UPDATE SET amount = lot_hours.amount + excluded.amount"
    )
    trigger = "CREATE TRIGGER lot_hours_add AFTER INSERT ON postings FOR EACH ROW WHEN (length(new.account) = 32)"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"{trigger} BEGIN {add}; END")
    else:
        body = f"BEGIN {add}; RETURN NULL; END"
        op.execute(f"CREATE FUNCTION lot_hours_add() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
        op.execute(f"{trigger} EXECUTE FUNCTION lot_hours_add()")


def _make_holds() -> None:
    op.create_table(
        "holds",
        _text("id", 64, primary_key=True),
        _text("instance", 32, index=True),
        _reference("organisation_id", "organisations.id", index=True),
        _reference("workspace_id", "workspaces.id"),
        *_request(),
        *_amounts("input_price", "cached_price", "output_price", "amount", "tokens"),
        _text("month", 7),
        *_tokens(),
        _moment("started_at"),
        _moment("kept_at"),
    )
    op.create_table(
        "hold_parts",
        sa.Column(
            "hold_id", sa.String(64), sa.ForeignKey("holds.id", ondelete="CASCADE"), primary_key=True, nullable=False
        ),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        _reference("lot_id", "lots.id", index=True),
        *_amounts("amount"),
    )


def _make_usage() -> None:
    op.create_table(
        "usage",
        _text("id", 64, primary_key=True),
        _reference("organisation_id", "organisations.id"),
        _reference("workspace_id", "workspaces.id"),
        *_request(),
        *_tokens(),
        *_amounts("amount"),
        sa.Column("outcome", _words("done", "hung_up", "failed", "interrupted", name="outcome"), nullable=False),
        sa.Column("is_estimate", sa.Boolean, nullable=False),
        _moment("started_at"),
        _moment("settled_at"),
        sa.Index("ix_usage_organisation", "organisation_id", "settled_at"),
        sa.Index("ix_usage_workspace", "workspace_id", "settled_at"),
        sa.Index("ix_usage_model", "organisation_id", "model", "settled_at"),
        sa.Index("ix_usage_key", "organisation_id", "key_id", "settled_at"),
    )
    op.create_table(
        "usage_days",
        sa.Column("day", sa.Date, primary_key=True),
        _reference("organisation_id", "organisations.id"),
        _reference("workspace_id", "workspaces.id", primary_key=True),
        _text("key_id", 32, primary_key=True),
        _text("model", 200, primary_key=True),
        _text("offering_id", 32, primary_key=True),
        *_amounts("requests", "prompt_tokens", "cached_tokens", "output_tokens", "amount"),
        sa.Index("ix_usage_days_organisation", "organisation_id", "day"),
    )


def _make_limits() -> None:
    scopes = ("organisation", "workspace", "key")
    op.create_table(
        "limits",
        sa.Column("scope", _words(*scopes, name="limit_scope"), primary_key=True),
        _text("scope_id", 32, primary_key=True),
        _reference("organisation_id", "organisations.id", index=True),
        sa.Column("requests_per_second", sa.Integer),
        *(sa.Column(name, sa.BigInteger) for name in ("tokens_per_minute", "tokens_per_month", "spend_per_month")),
    )
    op.create_table(
        "month_counts",
        sa.Column("scope", _words(*scopes, name="count_scope"), primary_key=True),
        _text("scope_id", 32, primary_key=True),
        _text("month", 7, primary_key=True),
        *_amounts("tokens", "tokens_reserved", "spend", "spend_held"),
    )


def _make_budgets() -> None:
    op.create_table(
        "pay_as_you_go", _reference("organisation_id", "organisations.id", primary_key=True), *_amounts("monthly_cap")
    )
    op.create_table(
        "budgets",
        _id(),
        _reference("organisation_id", "organisations.id", index=True),
        sa.Column("workspace_id", sa.String(32), sa.ForeignKey("workspaces.id")),
        _text("name", 200),
        *_amounts("amount"),
        sa.Column("thresholds", sa.JSON, nullable=False),
        sa.Column("webhook_url", sa.String(500)),
        sa.Column("encrypted_secret", sa.LargeBinary),
        _text("warned_month", 7),
        sa.Column("warned_percent", sa.Integer, nullable=False),
        _moment("created_at"),
        sa.CheckConstraint("amount > 0", name="positive"),
    )
    op.create_table(
        "webhook_calls",
        _id(),
        _reference("budget_id", "budgets.id", index=True, cascade=True),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        _moment("next_try_at", nullable=True),
        _moment("delivered_at", nullable=True),
        sa.Column("last_problem", sa.String(300)),
        _moment("created_at"),
        sa.Index("ix_webhook_calls_due", "next_try_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )


# ── columns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _request() -> list[sa.Column[str]]:
    """Who asked whom for what."""
    return [
        sa.Column("key_id", sa.String(32)),
        _text("user_id", 32),
        _text("route", 100),
        _text("model", 200),
        _text("offering_id", 32),
        _text("price_id", 32),
    ]


def _tokens() -> list[sa.Column[int]]:
    return [sa.Column(f"{kind}_tokens", sa.Integer, nullable=False) for kind in ("prompt", "cached", "output")]


def _amounts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(32), primary_key=True)


def _text(name: str, length: int, *, primary_key: bool = False, index: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), primary_key=primary_key, index=index or None, nullable=False)


def _words(*words: str, name: str) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True)


def _moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _reference(
    name: str, to: str, *, primary_key: bool = False, index: bool = False, cascade: bool = False
) -> sa.Column[str]:
    key = sa.ForeignKey(to, ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(32), key, primary_key=primary_key, index=index or None, nullable=False)
