"""/v1/billing: money that may be spent."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.accounts.permissions import allows
from tramontane.accounts.principal import Principal
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, Before, Limit, PathId
from tramontane.api.platform import Platform, platform_of, principal_of
from tramontane.api.schemas.billing import (
    BillingOverview,
    CurvePoint,
    Lot,
    LotDetail,
    LotDraft,
    LotList,
    PayAsYouGo,
    PostingBody,
    TransferBody,
    TransferPage,
)
from tramontane.billing import lot_views, lots, tables
from tramontane.billing.lot_views import Overview
from tramontane.catalogue.family import by_name
from tramontane.conversations.ids import id_or_nobodys
from tramontane.conversations.plain_text import storable
from tramontane.errors import InvalidRequestError, NotAllowedError

router = APIRouter(route_class=AuthenticatedRoute, tags=["billing"], responses=OWNED_RESPONSES)


@router.get("/v1/billing")
async def get_billing(request: Request) -> BillingOverview:
    """What there is to spend."""
    principal = require(request, "billing")
    async with platform_of(request).database.read() as session:
        return _overview(await lot_views.overview(session, principal.organisation_id))


@router.get("/v1/billing/lots")
async def list_lots(request: Request) -> LotList:
    """Credit and commitments."""
    principal = require(request, "billing")
    async with platform_of(request).database.read() as session:
        found = await lot_views.list_lots(session, principal.organisation_id)
    return LotList(data=[_lot(lot) for lot in found])


@router.post("/v1/billing/lots")
async def create_lot(request: Request, body: LotDraft) -> Lot:
    """Buy a commitment, or record prepaid credit; for the operator."""
    principal = require(request, "sell")
    draft = body.model_dump(exclude={"organisation_id"})
    draft["models"] = body.models and [_model(platform_of(request), storable(name)) for name in body.models]
    async with platform_of(request).database.write() as session:
        made = await lots.create_lot(
            session,
            organisation_id=_organisation(principal, body.organisation_id),
            created_by=principal.user_id,
            **draft,
        )
        facts = {"organisation_id": made.organisation_id, "kind": made.kind, "name": made.name, "amount": made.amount}
        await note(request, session, "lot.create", "lot", made.id, **facts)
        return _lot(made)


@router.get("/v1/billing/lots/{lot_id}")
async def get_lot(request: Request, lot_id: PathId) -> LotDetail:
    """With the curve of its balance."""
    principal = require(request, "billing")
    async with platform_of(request).database.read() as session:
        found = await lot_views.lot_detail(session, principal.organisation_id, lot_id)
    return LotDetail(
        **_lot(found.lot).model_dump(),
        curve=[CurvePoint(at=point.at, balance=point.balance) for point in found.curve],
        pace=found.pace,
        runs_out_at=found.runs_out_at,
    )


@router.post("/v1/billing/lots/{lot_id}/cancel")
async def cancel_lot(request: Request, lot_id: PathId) -> Lot:
    """End it: what is neither spent nor held goes back; for the operator."""
    require(request, "sell")
    async with platform_of(request).database.write() as session:
        ended = await lots.cancel_lot(session, lot_id)
        await note(request, session, "lot.cancel", "lot", lot_id, organisation_id=ended.organisation_id)
        return _lot(ended)


@router.put("/v1/billing/pay-as-you-go")
async def set_pay_as_you_go(request: Request, body: PayAsYouGo) -> BillingOverview:
    """Allow it, change its cap, or end it. Who may spend may lower it; who sells may set anybody's to anything."""
    principal = principal_of(request)
    if not allows(principal, "sell"):
        require(request, "spend")
    async with platform_of(request).database.write() as session:
        organisation_id = _organisation(principal, body.organisation_id)
        before = await lot_views.lock_monthly_cap(session, organisation_id)
        if not allows(principal, "sell") and (body.monthly_cap or 0) > (before or 0):
            raise NotAllowedError("You may lower this cap or end pay-as-you-go: to raise it, ask the operator.")
        await lots.set_pay_as_you_go(session, organisation_id, body.monthly_cap)
        caps = {"monthly_cap": body.monthly_cap, "before": before}
        await note(request, session, "pay_as_you_go.set", "organisation", organisation_id, **caps)
        return _overview(await lot_views.overview(session, organisation_id))


@router.get("/v1/billing/transfers")
async def list_transfers(request: Request, before: Before = None, limit: Limit = 50) -> TransferPage:
    """The ledger, the newest first."""
    principal = require(request, "billing")
    async with platform_of(request).database.read() as session:
        page, following = await lot_views.list_transfers(session, principal.organisation_id, before, limit)
    return TransferPage(data=[_transfer(transfer, postings) for transfer, postings in page], next=following)


def _organisation(principal: Principal, organisation_id: str | None) -> str:
    """One's own, or for who sells the one that is named; to others another's is as if it were not."""
    if organisation_id is None or organisation_id == principal.organisation_id:
        return principal.organisation_id
    return id_or_nobodys(organisation_id) if allows(principal, "sell") else ""


def _model(platform: Platform, name: str) -> str:
    """The model that a name means, since the ledger compares models' own names."""
    model = platform.directory.resolve(name).model
    if not platform.directory.offerings(model) and model not in by_name():
        raise InvalidRequestError("models", f"No model {name[:200]!r} is known here: name one that is offered.")
    return model


def _overview(found: Overview) -> BillingOverview:
    return BillingOverview(
        available=found.available,
        held=found.held,
        month_spend=found.month_spend,
        pay_as_you_go_cap=found.pay_as_you_go_cap,
        pay_as_you_go_spend=found.pay_as_you_go_spend,
        lots=[_lot(lot) for lot in found.lots],
    )


def _lot(lot: tables.Lot) -> Lot:
    return Lot(**{name: getattr(lot, name) for name in Lot.model_fields})


def _transfer(transfer: tables.Transfer, postings: list[tables.Posting]) -> TransferBody:
    return TransferBody(
        id=transfer.id,
        kind=transfer.kind,
        at=transfer.at,
        usage_id=transfer.usage_id,
        postings=[PostingBody(account=posting.account, amount=posting.amount) for posting in postings],
    )
