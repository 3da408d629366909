"""The tables of the catalogue: who offers which model where, at which price, and what was decided about models."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, Enum, ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tramontane.storage.base import Base, new_id, now

ProviderKind = Literal["local", "openai_compatible"]
Stage = Literal["preview", "available", "legacy", "deprecated", "retired"]
DeploymentState = Literal["running", "stopped"]

_Id = String(32)
_Name = String(200)


def _words(of: Any, name: str) -> Enum:
    return Enum(*get_args(of), name=name, native_enum=False, create_constraint=True)


class ProviderRow(Base):
    """Who computes: this machine's engine, or somebody else's server. `region` is a country's code, or EU."""

    __tablename__ = "providers"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(_Name, unique=True)
    kind: Mapped[ProviderKind] = mapped_column(_words(ProviderKind, "provider_kind"))
    base_url: Mapped[str | None] = mapped_column(String(500))  # None for `local`
    key_header: Mapped[str] = mapped_column(String(64), default="authorization")  # Azure's is api-key
    encrypted_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    operator: Mapped[str] = mapped_column(_Name)  # the company that runs it
    region: Mapped[str | None] = mapped_column(String(8))  # None: not declared, so no rule on regions lets it through
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class OfferingRow(Base):
    """A model at a provider. Rows are never deleted: usage and prices refer to them."""

    __tablename__ = "offerings"
    __table_args__ = (UniqueConstraint("provider_id", "model"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    model: Mapped[str] = mapped_column(_Name, index=True)  # what clients ask for
    provider_id: Mapped[str] = mapped_column(ForeignKey(ProviderRow.id))
    upstream_model: Mapped[str] = mapped_column(_Name)  # what the provider calls it
    max_context: Mapped[int | None]  # None: the catalogue's
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class PriceRow(Base):
    """What an offering costs in a time: integer nano-euros for a million tokens. Times of an offering never overlap."""

    __tablename__ = "prices"
    __table_args__ = (
        CheckConstraint("input >= 0 AND cached_input >= 0 AND output >= 0", name="not_negative"),
        CheckConstraint("cached_input <= input", name="cached_is_no_dearer"),
        CheckConstraint("batch_percent > 0 AND batch_percent <= 100", name="batch_percent"),
        CheckConstraint("valid_until IS NULL OR valid_until > valid_from", name="in_order"),
        CheckConstraint("currency = 'EUR'", name="currency"),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    offering_id: Mapped[str] = mapped_column(ForeignKey(OfferingRow.id), index=True)
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    input: Mapped[int] = mapped_column(BigInteger)
    cached_input: Mapped[int] = mapped_column(BigInteger)
    output: Mapped[int] = mapped_column(BigInteger)
    batch_percent: Mapped[int] = mapped_column(default=50)  # of these prices, for batches
    valid_from: Mapped[datetime]
    valid_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class LifecycleRow(Base):
    """What the operator decided about a model's life, over what the family's data says."""

    __tablename__ = "lifecycles"

    model: Mapped[str] = mapped_column(_Name, primary_key=True)
    stage: Mapped[Stage] = mapped_column(_words(Stage, "stage"))  # until the next date passes
    legacy_at: Mapped[datetime | None]
    deprecated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    replacement: Mapped[str | None] = mapped_column(_Name)


class LicenceAcceptance(Base):
    """Who accepted which licence for which model, before its files were pulled."""

    __tablename__ = "licence_acceptances"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    licence: Mapped[str] = mapped_column(_Name)
    model: Mapped[str] = mapped_column(_Name, index=True)
    user_id: Mapped[str] = mapped_column(_Id)  # the catalogue knows no accounts
    accepted_at: Mapped[datetime] = mapped_column(default=now)


class DeploymentRow(Base):
    """A model that is to run on this machine's engine, also after the next start."""

    __tablename__ = "deployments"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(_Name, unique=True)  # what it is served as
    reference: Mapped[str] = mapped_column(Text)  # as `tramontane serve --model` takes it
    quantization: Mapped[str] = mapped_column(String(8), default="none")
    state: Mapped[DeploymentState] = mapped_column(_words(DeploymentState, "deployment_state"), default="running")
    created_at: Mapped[datetime] = mapped_column(default=now)
