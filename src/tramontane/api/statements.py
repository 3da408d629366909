"""/v1/billing/statements: monthly bills."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES
from tramontane.api.platform import platform_of
from tramontane.api.schemas import billing as bodies
from tramontane.api.schemas.billing import StatementLine, StatementList, StatementLot
from tramontane.api.usage import CSV, as_file
from tramontane.billing import statements
from tramontane.billing.statements import Statement

router = APIRouter(route_class=AuthenticatedRoute, tags=["billing"], responses=OWNED_RESPONSES)

Month = Annotated[str, Path(max_length=200, description="As 2026-11.")]

_PDF: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The statement on paper.",
        "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/v1/billing/statements")
async def list_statements(request: Request) -> StatementList:
    """The months that have one."""
    principal = require(request, "billing")
    async with platform_of(request).database.read() as session:
        return StatementList(data=await statements.list_months(session, principal.organisation_id))


@router.get("/v1/billing/statements/{month}")
async def get_statement(request: Request, month: Month) -> bodies.Statement:
    """A month, as 2026-11."""
    found = await _read(request, month)
    return bodies.Statement(
        month=found.month,
        organisation=found.organisation,
        is_final=found.is_final,
        lines=[
            StatementLine(**{name: getattr(line, name) for name in StatementLine.model_fields}) for line in found.lines
        ],
        lots=[StatementLot(**{name: getattr(lot, name) for name in StatementLot.model_fields}) for lot in found.lots],
        charged=found.charged,
        shortfall=found.shortfall,
        due=found.due,
    )


@router.get("/v1/billing/statements/{month}/csv", response_class=Response, responses=CSV)
async def export_statement_csv(request: Request, month: Month) -> Response:
    """As CSV."""
    found = await _read(request, month)
    headers = as_file(f"statement-{found.number}.csv")
    return Response(statements.statement_csv(found), media_type="text/csv", headers=headers)


@router.get("/v1/billing/statements/{month}/pdf", response_class=Response, responses=_PDF)
async def export_statement_pdf(request: Request, month: Month) -> Response:
    """As PDF."""
    found = await _read(request, month)
    file = await asyncio.to_thread(_as_pdf, found)
    headers = as_file(f"statement-{found.number}.pdf")
    return Response(file, media_type="application/pdf", headers=headers)


def _as_pdf(found: Statement) -> bytes:
    from tramontane.billing.statement_pdf import statement_pdf  # its library is slow to import, and seldom needed

    return statement_pdf(found)


async def _read(request: Request, month: str) -> Statement:
    principal = require(request, "billing")
    async with platform_of(request).database.read() as session:
        return await statements.read_statement(session, principal.organisation_id, month)
