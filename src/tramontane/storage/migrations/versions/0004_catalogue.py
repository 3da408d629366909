"""Providers, offerings, prices, lifecycles, acceptances of licences, deployments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the tables of the catalogue."""
    op.create_table(
        "providers",
        _id(),
        _name("name", unique=True),
        sa.Column("kind", _words("local", "openai_compatible", name="provider_kind"), nullable=False),
        sa.Column("base_url", sa.String(500)),
        sa.Column("key_header", sa.String(64), nullable=False),
        sa.Column("encrypted_key", sa.LargeBinary),
        _name("operator"),
        sa.Column("region", sa.String(8)),
        sa.Column("enabled", sa.Boolean, nullable=False),
        _moment("created_at"),
    )
    op.create_table(
        "offerings",
        _id(),
        _name("model", index=True),
        sa.Column("provider_id", sa.String(32), sa.ForeignKey("providers.id"), nullable=False),
        _name("upstream_model"),
        sa.Column("max_context", sa.Integer),
        sa.Column("enabled", sa.Boolean, nullable=False),
        _moment("created_at"),
        sa.UniqueConstraint("provider_id", "model"),
    )
    _make_prices()
    op.create_table(
        "lifecycles",
        _name("model", primary_key=True),
        sa.Column(
            "stage", _words("preview", "available", "legacy", "deprecated", "retired", name="stage"), nullable=False
        ),
        _moment("legacy_at", nullable=True),
        _moment("deprecated_at", nullable=True),
        _moment("retired_at", nullable=True),
        sa.Column("replacement", sa.String(200)),
    )
    op.create_table(
        "licence_acceptances",
        _id(),
        _name("licence"),
        _name("model", index=True),
        sa.Column("user_id", sa.String(32), nullable=False),
        _moment("accepted_at"),
    )
    op.create_table(
        "deployments",
        _id(),
        _name("name", unique=True),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("quantization", sa.String(8), nullable=False),
        sa.Column("state", _words("running", "stopped", name="deployment_state"), nullable=False),
        _moment("created_at"),
    )


def _make_prices() -> None:
    op.create_table(
        "prices",
        _id(),
        sa.Column("offering_id", sa.String(32), sa.ForeignKey("offerings.id"), nullable=False, index=True),
        sa.Column("currency", sa.String(3), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("input", "cached_input", "output")),
        sa.Column("batch_percent", sa.Integer, nullable=False),
        _moment("valid_from"),
        _moment("valid_until", nullable=True),
        _moment("created_at"),
        sa.CheckConstraint("input >= 0 AND cached_input >= 0 AND output >= 0", name="not_negative"),
        sa.CheckConstraint("cached_input <= input", name="cached_is_no_dearer"),
        sa.CheckConstraint("batch_percent > 0 AND batch_percent <= 100", name="batch_percent"),
        sa.CheckConstraint("valid_until IS NULL OR valid_until > valid_from", name="in_order"),
        sa.CheckConstraint("currency = 'EUR'", name="currency"),
    )


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(32), primary_key=True)


def _name(name: str, *, primary_key: bool = False, unique: bool = False, index: bool = False) -> sa.Column[str]:
    return sa.Column(
        name, sa.String(200), primary_key=primary_key, unique=unique or None, index=index or None, nullable=False
    )


def _words(*words: str, name: str) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True)


def _moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
