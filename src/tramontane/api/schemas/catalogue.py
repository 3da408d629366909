"""Models, offerings, prices, providers and deployments as the console reads and writes them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from tramontane.api.schemas.accounts import RoutingPolicy
from tramontane.catalogue.tables import ProviderKind, Stage
from tramontane.conversations.plain_text import storable

Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable)]
Nano = Annotated[int, Field(ge=0, le=9 * 10**15, description="Nano-euros (10⁻⁹ €).")]
Region = Annotated[str, Field(min_length=2, max_length=8, description="A country's code, or EU.")]


class Licence(BaseModel):
    """What a model may be used for."""

    name: str
    url: str | None
    allows_production: bool
    needs_acceptance: bool
    accepted_at: datetime | None
    accepted_by: str | None


class Document(BaseModel):
    """Something to read about a model."""

    title: str
    url: str


class Lifecycle(BaseModel):
    """Where a model stands in its life, and what is announced."""

    stage: Stage
    legacy_at: datetime | None
    deprecated_at: datetime | None
    retired_at: datetime | None
    replacement: str | None


class LifecycleChange(BaseModel):
    """What the operator decides. Legacy lasts 30 days at least, Deprecated 90."""

    stage: Stage
    legacy_at: datetime | None = None
    deprecated_at: datetime | None = None
    retired_at: datetime | None = None
    replacement: Text | None = None


class Price(BaseModel):
    """Nano-euros for a million tokens."""

    id: str
    offering_id: str
    currency: str
    input: int
    cached_input: int
    output: int
    batch_percent: int
    valid_from: datetime
    valid_until: datetime | None


class PriceDraft(BaseModel):
    """A price to come, or from now on. It ends the one before it."""

    currency: Annotated[str, Field(max_length=10)] = "EUR"
    input: Nano
    cached_input: Nano | None = Field(None, description="Null: as input.")
    output: Nano
    batch_percent: int = Field(50, ge=1, le=100)
    valid_from: datetime | None = Field(None, description="Null: now.")
    valid_until: datetime | None = None


class PriceList(BaseModel):
    """Of an offering: past, present and to come."""

    data: list[Price]


class Health(BaseModel):
    """How an offering's last requests went."""

    state: Literal["unknown", "healthy", "failing", "open"] = Field(description="`open`: no requests are sent there.")
    failures: int = Field(description="In a row.")
    latency_ms: float | None = Field(description="To the first token, a moving average.")
    last_problem: str | None


class Offering(BaseModel):
    """A model at a provider."""

    id: str
    model: str
    provider_id: str
    provider_name: str
    kind: ProviderKind
    operator: str
    region: str | None
    upstream_model: str
    max_context: int | None
    enabled: bool
    is_running: bool = Field(description="Of local ones: whether the model is loaded.")
    price: Price | None = Field(description="Now. Without one nobody is served.")
    health: Health


class OfferingList(BaseModel):
    """All offerings."""

    data: list[Offering]


class OfferingDraft(BaseModel):
    """A model that a provider offers."""

    model: Text
    provider_id: Text
    upstream_model: Text | None = Field(None, description="What the provider calls it; null: the same.")
    max_context: int | None = Field(None, ge=1, le=100_000_000)
    price: PriceDraft | None = None


class OfferingChange(BaseModel):
    """What is to change."""

    upstream_model: Text | None = None
    max_context: int | None = Field(None, ge=1, le=100_000_000)
    enabled: bool | None = None


class MemoryFit(BaseModel):
    """What a model needs in memory, and what there is, in bytes."""

    quantization: Literal["none", "int8", "int4"]
    needed: int
    available: int
    fits: bool


class CatalogueModel(BaseModel):
    """A model of the family, or one of the operator's own."""

    name: str
    title: str
    version: str
    aliases: list[str] = Field(description="That point to it now.")
    maker: str
    summary: str
    licence: Licence
    parameters: int | None = Field(description="All weights; null: its makers do not say.")
    active_parameters: int | None = Field(description="Used for each token.")
    max_context: int | None
    languages: list[str]
    abilities: list[str] = Field(description="chat, fim, tools, reasoning, embeddings, vision, code …")
    file_formats: list[str]
    repository: str | None
    released: date | None
    documents: list[Document]
    lifecycle: Lifecycle
    offerings: list[Offering]
    is_pulled: bool
    fits: list[MemoryFit]


class Catalogue(BaseModel):
    """All models."""

    data: list[CatalogueModel]


class Provider(BaseModel):
    """Who computes."""

    id: str
    name: str
    kind: ProviderKind
    base_url: str | None
    key_header: str
    has_key: bool
    operator: str
    region: str | None
    enabled: bool


class ProviderList(BaseModel):
    """All of them."""

    data: list[Provider]


class ProviderDraft(BaseModel):
    """A server that speaks OpenAI's API."""

    name: Text
    base_url: Annotated[str, Field(max_length=500)]
    key: Annotated[str, Field(max_length=2000)] | None = None
    key_header: Literal["authorization", "api-key"] = "authorization"
    operator: Text
    region: Region | None = None


class ProviderChange(BaseModel):
    """What is to change."""

    name: Text | None = None
    base_url: Annotated[str, Field(max_length=500)] | None = None
    key: Annotated[str, Field(max_length=2000)] | None = None
    operator: Text | None = None
    region: Region | None = None
    enabled: bool | None = None


class ProviderCheck(BaseModel):
    """Whether it answers, and what it offers."""

    ok: bool
    problem: str | None
    models: list[str]


class DeploymentDraft(BaseModel):
    """A model to run on this machine."""

    reference: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(storable)]
    name: Text | None = Field(None, description="What it is to be served as; null: its catalogue name.")
    quantization: Literal["none", "int8", "int4"] = "none"
    accept_licence: bool = False


class Deployment(BaseModel):
    """A model that runs on this machine, or is to."""

    id: str | None = Field(description="Null for those of the command line, which end with the server.")
    name: str
    reference: str
    quantization: str
    state: Literal["pulling", "loading", "running", "stopped", "failed"]
    progress: float = Field(description="0 to 1.")
    done_bytes: int | None
    total_bytes: int | None
    message: str | None
    memory_bytes: int | None


class DeploymentList(BaseModel):
    """Of this machine, with its memory in bytes."""

    data: list[Deployment]
    memory_total: int
    memory_available: int


class RouteTrial(BaseModel):
    """A model, and the policy to try it under."""

    model: Text
    policy: RoutingPolicy | None = None


class RouteConsidered(BaseModel):
    """An offering, with its place in the order, or why it is left out."""

    offering_id: str
    provider_name: str
    operator: str
    region: str | None
    place: int | None
    reason: str


class RouteExplanation(BaseModel):
    """Where a request would go, and why not elsewhere."""

    model: str
    resolved: str
    chosen: str | None
    considered: list[RouteConsidered]
    problem: str | None
