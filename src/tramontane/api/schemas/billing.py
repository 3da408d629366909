"""Money, usage and limits as the console reads and writes them. Amounts are integer nano-euros (10⁻⁹ €)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from tramontane.billing.tables import LotKind, LotState, Outcome, Scope, TransferKind
from tramontane.conversations.plain_text import storable

Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable)]


def _within_reason(moment: datetime) -> datetime:
    if not 2000 <= moment.year < 3000:
        raise ValueError("the year has to be from 2000 to 2999")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_within_reason)]
Amount = Annotated[int, Field(ge=1, le=9 * 10**15, description="Nano-euros (10⁻⁹ €).")]


class Lot(BaseModel):
    """Money that may be spent."""

    id: str
    kind: LotKind
    name: str
    amount: int
    balance: int = Field(description="What is left, held or not.")
    held: int = Field(description="Promised to requests that run.")
    starts_at: datetime
    ends_at: datetime | None
    models: list[str] | None
    state: LotState
    created_at: datetime


class LotDraft(BaseModel):
    """A commitment or prepaid credit; only the operator's owners and admins and billing make one."""

    organisation_id: str | None = Field(None, max_length=200, description="Null: one's own.")
    kind: Literal["credit", "commitment"]
    name: Text
    amount: Amount
    starts_at: Moment | None = Field(None, description="Null: now.")
    ends_at: Moment | None = Field(None, description="A commitment has one.")
    models: list[Annotated[str, Field(max_length=200)]] | None = Field(None, max_length=100)


class CurvePoint(BaseModel):
    """A lot's balance at a moment."""

    at: datetime
    balance: int


class LotDetail(Lot):
    """With its draw-down."""

    curve: list[CurvePoint]
    pace: int | None = Field(description="Nano-euros a day, over the last 7 days.")
    runs_out_at: datetime | None = Field(description="At this pace; null: not before its end.")


class LotList(BaseModel):
    """Of the organisation, in the order in which they are drawn on."""

    data: list[Lot]


class BillingOverview(BaseModel):
    """What there is to spend."""

    currency: Literal["EUR"] = "EUR"
    available: int
    held: int
    month_spend: int
    pay_as_you_go_cap: int | None
    pay_as_you_go_spend: int
    lots: list[Lot]


class PayAsYouGo(BaseModel):
    """Spend and pay later, up to a cap each month; null ends it."""

    organisation_id: str | None = Field(None, max_length=200, description="Null: one's own; others for the operator.")
    monthly_cap: Amount | None


class TransferBody(BaseModel):
    """A movement of money."""

    id: str
    kind: TransferKind
    at: datetime
    usage_id: str | None
    postings: list[PostingBody]


class PostingBody(BaseModel):
    """One side of it."""

    account: str
    amount: int


class TransferPage(BaseModel):
    """The newest first."""

    data: list[TransferBody]
    next: str | None


class StatementLine(BaseModel):
    """What one model cost in one workspace."""

    workspace_id: str
    workspace_name: str
    model: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    amount: int


class StatementLot(BaseModel):
    """What happened to a lot in the month."""

    lot_id: str
    kind: LotKind
    name: str
    opening: int
    added: int
    charged: int
    expired: int
    closing: int


class Statement(BaseModel):
    """A month's bill."""

    month: str
    organisation: str
    currency: Literal["EUR"] = "EUR"
    is_final: bool = Field(description="Whether the month is over.")
    lines: list[StatementLine]
    lots: list[StatementLot]
    charged: int
    shortfall: int
    due: int = Field(description="To be paid: pay-as-you-go and commitments as drawn down, and shortfalls.")


class StatementList(BaseModel):
    """The months that have one."""

    data: list[str]


class BudgetBody(BaseModel):
    """A month's amount, with warnings."""

    id: str
    name: str
    workspace_id: str | None
    amount: int
    thresholds: list[int]
    webhook_url: str | None
    spend: int = Field(description="This month.")
    warned_percent: int
    last_problem: str | None = Field(description="Why the last call failed.")


class BudgetList(BaseModel):
    """Of the organisation."""

    data: list[BudgetBody]


class BudgetDraft(BaseModel):
    """A budget to be."""

    name: Text
    workspace_id: str | None = Field(None, max_length=200)
    amount: Amount
    thresholds: list[Annotated[int, Field(ge=1, le=1000)]] = Field(
        default_factory=lambda: [50, 80, 100], min_length=1, max_length=10
    )
    webhook_url: Annotated[str, Field(max_length=500)] | None = None


class BudgetCreated(BudgetBody):
    """With the secret that its calls are signed with, shown once."""

    webhook_secret: str | None


class UsageRequest(BaseModel):
    """One request."""

    id: str
    workspace_id: str
    key_id: str | None
    key_name: str
    model: str
    offering_id: str
    route: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    amount: int
    outcome: Outcome
    is_estimate: bool
    started_at: datetime
    settled_at: datetime


class UsagePage(BaseModel):
    """The newest first."""

    data: list[UsageRequest]
    next: str | None


class UsageGroup(BaseModel):
    """Sums of a group: a model, key, workspace or day, or a day of one of these."""

    day: date | None
    group: str
    name: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    amount: int


class UsageReport(BaseModel):
    """Sums over a time."""

    start: date
    end: date
    by: Literal["model", "key", "workspace", "day"]
    total: UsageGroup
    groups: list[UsageGroup]
    days: list[UsageGroup] = Field(description="For charts: each day, each group.")


class LimitBody(BaseModel):
    """What a scope may take, and has taken this month."""

    scope: Scope
    scope_id: str
    name: str
    requests_per_second: int | None
    tokens_per_minute: int | None
    tokens_per_month: int | None
    spend_per_month: int | None
    month_tokens: int
    month_spend: int


class LimitList(BaseModel):
    """The organisation's, its workspaces' and its keys'."""

    data: list[LimitBody]


class LimitChange(BaseModel):
    """Null: no limit."""

    requests_per_second: int | None = Field(None, ge=1, le=1_000_000)
    tokens_per_minute: int | None = Field(None, ge=1, le=10**12)
    tokens_per_month: int | None = Field(None, ge=1, le=10**15)
    spend_per_month: int | None = Field(None, ge=0, le=9 * 10**15)


TransferBody.model_rebuild()
