"""The tables of billing. Money is integer nano-euros everywhere; rows of the ledger are only ever added."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Date,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from tramontane.accounts.tables import Organisation, Workspace
from tramontane.storage.base import Base, new_id, now

LotKind = Literal["credit", "commitment", "pay_as_you_go", "free"]
LotState = Literal["active", "completed", "expired", "cancelled"]
TransferKind = Literal["top_up", "charge", "expiry", "shortfall", "cancellation", "return"]
Outcome = Literal["done", "hung_up", "failed", "interrupted"]
Scope = Literal["organisation", "workspace", "key"]

REVENUE = "revenue"  # what was charged
FUNDING = "funding"  # whence prepaid credit came
RECEIVABLE = "receivable"  # what organisations owe: commitments, and pay-as-you-go
BREAKAGE = "breakage"  # credit that expired unused
SHORTFALL = "shortfall"  # commitments that were not met, and so are charged
PROMOTION = "promotion"  # whence free quotas came, and where they go back to

_Id = String(32)
_Name = String(200)
_Number = BigInteger().with_variant(Integer, "sqlite")  # which counts up INTEGER keys only


def _words(of: Any, name: str) -> Enum:
    return Enum(*get_args(of), name=name, native_enum=False, create_constraint=True)


class Lot(Base):
    """Money that an organisation may spend: prepaid, committed, a month's allowance to pay later, or free.

    `balance` is what is left of `amount`, and of it `held` is promised to requests that run. A commitment is charged
    as it is drawn down, and its unmet rest at its end.
    """

    __tablename__ = "lots"
    __table_args__ = (
        CheckConstraint("amount >= 0 AND balance >= 0 AND held >= 0 AND held <= balance", name="never_overdrawn"),
        Index("ix_lots_organisation", "organisation_id", "state"),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id))
    kind: Mapped[LotKind] = mapped_column(_words(LotKind, "lot_kind"))
    name: Mapped[str] = mapped_column(_Name)
    amount: Mapped[int] = mapped_column(BigInteger)
    balance: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger, default=0)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    models: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # that it pays for; None: all
    state: Mapped[LotState] = mapped_column(_words(LotState, "lot_state"), default="active")
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str | None] = mapped_column(_Id)


class Transfer(Base):
    """Why money moved. Its postings sum to zero."""

    __tablename__ = "transfers"
    __table_args__ = (Index("ix_transfers_organisation", "organisation_id", "at"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id))
    kind: Mapped[TransferKind] = mapped_column(_words(TransferKind, "transfer_kind"))
    usage_id: Mapped[str | None] = mapped_column(
        String(64), unique=True
    )  # of a charge: a request is charged once at most
    at: Mapped[datetime]


class Posting(Base):
    """One side of a transfer: into (above zero) or out of an account, which is a lot's id or one of the house's."""

    __tablename__ = "postings"
    __table_args__ = (Index("ix_postings_account", "account"),)

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    transfer_id: Mapped[str] = mapped_column(ForeignKey(Transfer.id), index=True)
    account: Mapped[str] = mapped_column(_Id)
    amount: Mapped[int] = mapped_column(BigInteger)


class LotHour(Base):
    """The sums of a lot's postings by hour (UTC) and kind of transfer: what curves and statements read.

    Triggers of the database keep them, so they are the postings' sums whoever writes these.
    """

    __tablename__ = "lot_hours"

    lot_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    kind: Mapped[TransferKind] = mapped_column(_words(TransferKind, "lot_hour_kind"), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)


class Hold(Base):
    """A request that runs: what it may cost at most, and what had been delivered when that was last kept."""

    __tablename__ = "holds"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # the request's
    instance: Mapped[str] = mapped_column(_Id, index=True)  # the process that serves it
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), index=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id))
    key_id: Mapped[str | None] = mapped_column(_Id)  # None: a browser
    user_id: Mapped[str] = mapped_column(_Id)
    route: Mapped[str] = mapped_column(String(100))
    model: Mapped[str] = mapped_column(_Name)
    offering_id: Mapped[str] = mapped_column(_Id)
    price_id: Mapped[str] = mapped_column(_Id)
    input_price: Mapped[int] = mapped_column(BigInteger)
    cached_price: Mapped[int] = mapped_column(BigInteger)
    output_price: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)  # that are reserved of monthly limits
    month: Mapped[str] = mapped_column(String(7))  # of the counters that it reserved from
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    cached_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime]
    kept_at: Mapped[datetime]


class HoldPart(Base):
    """How much of a hold a lot pays, in the order in which the lots are drawn on."""

    __tablename__ = "hold_parts"

    hold_id: Mapped[str] = mapped_column(ForeignKey(Hold.id, ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lot_id: Mapped[str] = mapped_column(ForeignKey(Lot.id), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)


class UsageRow(Base):
    """One request that was served, as it is billed."""

    __tablename__ = "usage"
    __table_args__ = (
        Index("ix_usage_organisation", "organisation_id", "settled_at"),
        Index("ix_usage_workspace", "workspace_id", "settled_at"),
        Index("ix_usage_model", "organisation_id", "model", "settled_at"),
        Index("ix_usage_key", "organisation_id", "key_id", "settled_at"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # the request's
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id))
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id))
    key_id: Mapped[str | None] = mapped_column(_Id)
    user_id: Mapped[str] = mapped_column(_Id)
    route: Mapped[str] = mapped_column(String(100))
    model: Mapped[str] = mapped_column(_Name)
    offering_id: Mapped[str] = mapped_column(_Id)
    price_id: Mapped[str] = mapped_column(_Id)
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    output_tokens: Mapped[int]
    amount: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[Outcome] = mapped_column(_words(Outcome, "outcome"))
    is_estimate: Mapped[bool] = mapped_column(default=False)  # counted here, because the provider did not tell
    started_at: Mapped[datetime]
    settled_at: Mapped[datetime]


class UsageDay(Base):
    """The sums of `usage` by day (UTC), workspace, key and model: what pages and charts read."""

    __tablename__ = "usage_days"
    __table_args__ = (Index("ix_usage_days_organisation", "organisation_id", "day"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id))
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id), primary_key=True)
    key_id: Mapped[str] = mapped_column(_Id, primary_key=True)  # empty: a browser
    model: Mapped[str] = mapped_column(_Name, primary_key=True)
    offering_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)


class Limit(Base):
    """What a key, a workspace or an organisation may take; None: as much as it likes."""

    __tablename__ = "limits"

    scope: Mapped[Scope] = mapped_column(_words(Scope, "limit_scope"), primary_key=True)
    scope_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), index=True)
    requests_per_second: Mapped[int | None]
    tokens_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    tokens_per_month: Mapped[int | None] = mapped_column(BigInteger)
    spend_per_month: Mapped[int | None] = mapped_column(BigInteger)


class MonthCount(Base):
    """What a scope has used in a month (UTC), and what is reserved by requests that run."""

    __tablename__ = "month_counts"

    scope: Mapped[Scope] = mapped_column(_words(Scope, "count_scope"), primary_key=True)
    scope_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)  # 2026-11
    tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    tokens_reserved: Mapped[int] = mapped_column(BigInteger, default=0)
    spend: Mapped[int] = mapped_column(BigInteger, default=0)
    spend_held: Mapped[int] = mapped_column(BigInteger, default=0)


class PayAsYouGo(Base):
    """That an organisation may spend beyond its lots and pay later, up to a cap each month."""

    __tablename__ = "pay_as_you_go"

    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), primary_key=True)
    monthly_cap: Mapped[int] = mapped_column(BigInteger)


class Budget(Base):
    """A month's amount of an organisation or workspace; a webhook is called as shares of it are spent."""

    __tablename__ = "budgets"
    __table_args__ = (CheckConstraint("amount > 0", name="positive"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    organisation_id: Mapped[str] = mapped_column(ForeignKey(Organisation.id), index=True)
    workspace_id: Mapped[str | None] = mapped_column(ForeignKey(Workspace.id))
    name: Mapped[str] = mapped_column(_Name)
    amount: Mapped[int] = mapped_column(BigInteger)
    thresholds: Mapped[list[int]] = mapped_column(JSON)  # percent
    webhook_url: Mapped[str | None] = mapped_column(String(500))
    encrypted_secret: Mapped[bytes | None] = mapped_column(LargeBinary)  # that its calls are signed with
    warned_month: Mapped[str] = mapped_column(String(7), default="")
    warned_percent: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)


class WebhookCall(Base):
    """A warning that is to be delivered: kept until it was, tried again in growing pauses."""

    __tablename__ = "webhook_calls"
    __table_args__ = (
        Index("ix_webhook_calls_due", "next_try_at", sqlite_where=text("delivered_at IS NULL"),
              postgresql_where=text("delivered_at IS NULL")),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    budget_id: Mapped[str] = mapped_column(ForeignKey(Budget.id, ondelete="CASCADE"), index=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]  # None: given up
    delivered_at: Mapped[datetime | None]
    last_problem: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(default=now)
