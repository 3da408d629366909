"""/v1/usage: what was used."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, Before, Limit
from tramontane.api.platform import platform_of
from tramontane.api.schemas.billing import UsageGroup, UsagePage, UsageReport, UsageRequest
from tramontane.billing import usage
from tramontane.billing.tables import UsageRow
from tramontane.billing.usage import By, Filters, Sums
from tramontane.conversations.plain_text import storable

router = APIRouter(route_class=AuthenticatedRoute, tags=["usage"], responses=OWNED_RESPONSES)


def _storable(text: str | None) -> str | None:
    return text and storable(text)


Filter = Annotated[str | None, Query(max_length=200), AfterValidator(_storable)]
OfKey = Annotated[
    str | None,
    Query(max_length=200, description="A key's id; empty: what was asked in a browser."),
    AfterValidator(_storable),
]

CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "A table for spreadsheets.", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.get("/v1/usage")
async def get_usage(
    request: Request,
    start: date | None = None,
    end: date | None = None,
    by: By = "model",
    model: Filter = None,
    key_id: OfKey = None,
    workspace_id: Filter = None,
) -> UsageReport:
    """Sums by model, key, workspace or day, the dearest first; of the last 30 days where nothing else is said.

    `days` are for charts: those of the ten dearest groups, and of the rest together as group `*`.
    """
    principal = require(request, "usage")
    start, end = usage.period(start, end)
    async with platform_of(request).database.read() as session:
        filters = Filters(model, key_id, workspace_id)
        found = await usage.report(session, principal.organisation_id, start, end, by, filters)
    return UsageReport(
        start=start,
        end=end,
        by=by,
        total=_group(found.total),
        groups=[_group(sums) for sums in found.groups],
        days=[_group(sums) for sums in found.days],
    )


@router.get("/v1/usage/requests")
async def list_usage_requests(
    request: Request,
    before: Before = None,
    limit: Limit = 50,
    model: Filter = None,
    key_id: OfKey = None,
    workspace_id: Filter = None,
) -> UsagePage:
    """Requests, the newest first."""
    principal = require(request, "usage")
    async with platform_of(request).database.read() as session:
        filters = Filters(model, key_id, workspace_id)
        page, following = await usage.list_requests(session, principal.organisation_id, filters, before, limit)
    return UsagePage(data=[_request(row, key_name) for row, key_name in page], next=following)


@router.get("/v1/usage/export", response_class=Response, responses=CSV)
async def export_usage(request: Request, start: date | None = None, end: date | None = None) -> Response:
    """Requests as CSV."""
    principal = require(request, "usage")
    start, end = usage.period(start, end)
    pieces = usage.export(platform_of(request).database, principal.organisation_id, start, end)
    return StreamingResponse(pieces, media_type="text/csv", headers=as_file(f"usage-{start}-{end}.csv"))


def as_file(name: str) -> dict[str, str]:
    """That a browser keeps the answer as a file of this name."""
    return {"content-disposition": f'attachment; filename="{name}"'}


def _group(sums: Sums) -> UsageGroup:
    return UsageGroup(**asdict(sums))


def _request(row: UsageRow, key_name: str) -> UsageRequest:
    columns = {name: getattr(row, name) for name in UsageRequest.model_fields if name != "key_name"}
    return UsageRequest(**columns, key_name=key_name)
