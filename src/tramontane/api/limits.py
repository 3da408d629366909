"""/v1/limits: what keys, workspaces and the organisation may take."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, PathId
from tramontane.api.platform import platform_of
from tramontane.api.schemas.billing import LimitBody, LimitChange, LimitList
from tramontane.billing import limits
from tramontane.billing.limits import Limited
from tramontane.billing.tables import Scope

router = APIRouter(route_class=AuthenticatedRoute, tags=["limits"], responses=OWNED_RESPONSES)


@router.get("/v1/limits")
async def list_limits(request: Request) -> LimitList:
    """With what was taken this month."""
    principal = require(request, "usage")
    async with platform_of(request).database.read() as session:
        found = await limits.list_limits(session, principal.organisation_id)
    return LimitList(data=[_body(limited) for limited in found])


@router.put("/v1/limits/{scope}/{scope_id}")
async def set_limit(request: Request, scope: Scope, scope_id: PathId, body: LimitChange) -> LimitBody:
    """Set all four; null lifts one."""
    principal, platform = require(request, "limits"), platform_of(request)
    values = body.model_dump()
    async with platform.database.write() as session:
        changed = await limits.set_limit(session, principal.organisation_id, scope, scope_id, values)
        await note(request, session, "limit.set", scope, scope_id, **values)
    await platform.rates.refresh()
    return _body(changed)


def _body(limited: Limited) -> LimitBody:
    return LimitBody(
        scope=limited.scope,
        scope_id=limited.scope_id,
        name=limited.name,
        **{name: getattr(limited.limits, name, None) for name in LimitChange.model_fields},
        month_tokens=limited.month_tokens,
        month_spend=limited.month_spend,
    )
