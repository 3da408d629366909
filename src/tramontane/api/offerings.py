"""/v1/offerings: models at providers, and their prices; for the operator."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.catalogue_bodies import offering_bodies, price_body
from tramontane.api.owned import OWNED_RESPONSES, PathId, changes_of
from tramontane.api.platform import platform_of
from tramontane.api.schemas.catalogue import (
    Offering,
    OfferingChange,
    OfferingDraft,
    OfferingList,
    Price,
    PriceDraft,
    PriceList,
)
from tramontane.catalogue import prices, providers
from tramontane.catalogue.tables import PriceRow
from tramontane.errors import MissingError

router = APIRouter(route_class=AuthenticatedRoute, tags=["operator"], responses=OWNED_RESPONSES)


@router.get("/v1/offerings")
async def list_offerings(request: Request) -> OfferingList:
    """All of them."""
    require(request, "operate")
    platform = platform_of(request)
    async with platform.database.read() as session:
        return OfferingList(data=await offering_bodies(request, session, platform.directory.all()))


@router.post("/v1/offerings")
async def create_offering(request: Request, body: OfferingDraft) -> Offering:
    """Offer a model of a provider."""
    require(request, "operate")
    async with platform_of(request).database.write() as session:
        row = await providers.create_offering(
            session, body.provider_id, body.model, body.upstream_model, body.max_context
        )
        fields = {"model": row.model, "provider_id": row.provider_id, "upstream_model": row.upstream_model}
        await note(request, session, "offering.create", "offering", row.id, **fields, max_context=row.max_context)
        if body.price is not None:
            await _set_price(request, row.id, body.price, session)
    return await _refreshed(request, row.id)


@router.patch("/v1/offerings/{offering_id}")
async def change_offering(request: Request, offering_id: PathId, body: OfferingChange) -> Offering:
    """Change what the body names."""
    require(request, "operate")
    changes = changes_of(body, nullable=("max_context",))
    async with platform_of(request).database.write() as session:
        row = await providers.find_offering(session, offering_id)
        for name, value in changes.items():
            setattr(row, name, value)
        await note(request, session, "offering.change", "offering", row.id, **changes)
    return await _refreshed(request, row.id)


@router.get("/v1/offerings/{offering_id}/prices")
async def list_prices(request: Request, offering_id: PathId) -> PriceList:
    """Past, present and to come."""
    require(request, "operate")
    async with platform_of(request).database.read() as session:
        return PriceList(data=[price_body(row) for row in await prices.list_prices(session, offering_id)])


@router.post("/v1/offerings/{offering_id}/prices")
async def create_price(request: Request, offering_id: PathId, body: PriceDraft) -> Price:
    """Set a price from a moment on."""
    require(request, "operate")
    platform = platform_of(request)
    async with platform.database.write() as session:
        row = await _set_price(request, offering_id, body, session)
    await platform.directory.refresh()
    return price_body(row)


@router.delete("/v1/prices/{price_id}", status_code=204)
async def delete_price(request: Request, price_id: PathId) -> Response:
    """Take back a price that has not begun."""
    require(request, "operate")
    platform = platform_of(request)
    async with platform.database.write() as session:
        row = await prices.delete_price(session, price_id)
        await note(request, session, "price.delete", "offering", row.offering_id, **_noted(row))
    await platform.directory.refresh()
    return Response(status_code=204)


async def _set_price(request: Request, offering_id: str, body: PriceDraft, session: AsyncSession) -> PriceRow:
    row = await prices.set_price(session, offering_id, prices.PriceDraft(**body.model_dump()))
    await note(request, session, "price.set", "offering", offering_id, **_noted(row))
    return row


def _noted(row: PriceRow) -> dict[str, int | str | None]:
    return {
        "price_id": row.id,
        "input": row.input,
        "cached_input": row.cached_input,
        "output": row.output,
        "batch_percent": row.batch_percent,
        "valid_from": row.valid_from.isoformat(),
        "valid_until": row.valid_until.isoformat() if row.valid_until else None,
    }


async def _refreshed(request: Request, offering_id: str) -> Offering:
    platform = platform_of(request)
    await platform.directory.refresh()
    found = [offering for offering in platform.directory.all() if offering.id == offering_id]
    async with platform.database.read() as session:
        bodies = await offering_bodies(request, session, found)
    if not bodies:
        raise MissingError("There is no such offering.")
    return bodies[0]
