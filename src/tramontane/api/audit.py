"""/v1/audit: who did what, when, from where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from tramontane.accounts import audit
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, Limit
from tramontane.api.platform import platform_of
from tramontane.api.schemas.accounts import AuditEntry, AuditPage, AuditVerification
from tramontane.api.usage import as_file
from tramontane.conversations.plain_text import storable

router = APIRouter(route_class=AuthenticatedRoute, tags=["organisation"], responses=OWNED_RESPONSES)

_MOST_NUMBER = 2**31 - 1  # of an entry
Words = Annotated[str | None, Query(max_length=200)]
_JSON_LINES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}}


@router.get("/v1/audit")
async def list_audit_entries(
    request: Request,
    before: Annotated[int | None, Query(ge=1, le=_MOST_NUMBER)] = None,
    limit: Limit = 50,
    action: Words = None,
    actor: Words = None,
) -> AuditPage:
    """The newest first."""
    principal = require(request, "audit")
    async with platform_of(request).database.read() as session:
        found = await audit.page(
            session,
            principal.organisation_id,
            before=before,
            limit=limit + 1,
            action=storable(action or ""),
            actor=storable(actor or ""),
        )
    shown = [AuditEntry(**{name: getattr(entry, name) for name in AuditEntry.model_fields}) for entry in found[:limit]]
    return AuditPage(data=shown, next=shown[-1].number if len(found) > limit else None)


@router.get("/v1/audit/verification")
async def verify_audit(request: Request) -> AuditVerification:
    """Check the whole chain of digests."""
    principal = require(request, "audit")
    async with platform_of(request).database.read() as session:
        found = await audit.verify(session, principal.organisation_id)
    return AuditVerification(
        entries=found.entries, is_whole=found.first_broken is None, first_broken=found.first_broken
    )


@router.get("/v1/audit/export", response_class=StreamingResponse, responses=_JSON_LINES)
async def export_audit(request: Request) -> StreamingResponse:
    """All entries as JSON lines, the oldest first, in the form that the digests are of."""
    principal, database = require(request, "audit"), platform_of(request).database

    async def lines() -> AsyncIterator[bytes]:
        async with database.read() as session:
            async for some in audit.export(session, principal.organisation_id):
                yield some

    return StreamingResponse(lines(), media_type="application/jsonl", headers=as_file("audit.jsonl"))
