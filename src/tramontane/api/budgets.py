"""/v1/billing/budgets: amounts with warnings."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, PathId
from tramontane.api.platform import platform_of
from tramontane.api.schemas.billing import BudgetBody, BudgetCreated, BudgetDraft, BudgetList
from tramontane.billing import budgets
from tramontane.billing.budgets import Watched
from tramontane.conversations.ids import id_or_nobodys

router = APIRouter(route_class=AuthenticatedRoute, tags=["billing"], responses=OWNED_RESPONSES)


@router.get("/v1/billing/budgets")
async def list_budgets(request: Request) -> BudgetList:
    """The organisation's."""
    principal = require(request, "billing")
    async with platform_of(request).database.read() as session:
        found = await budgets.list_budgets(session, principal.organisation_id)
    return BudgetList(data=[BudgetBody(**_fields(one)) for one in found])


@router.post("/v1/billing/budgets")
async def create_budget(request: Request, body: BudgetDraft) -> BudgetCreated:
    """Make one."""
    principal, platform = require(request, "spend"), platform_of(request)
    if body.webhook_url is not None:
        budgets.check_webhook(platform.outbound, body.webhook_url)
    draft = body.model_dump()
    if body.workspace_id is not None:
        draft["workspace_id"] = id_or_nobodys(body.workspace_id)
    async with platform.database.write() as session:
        made, secret = await budgets.create_budget(session, platform.vault, principal.organisation_id, **draft)
        await note(request, session, "budget.create", "budget", made.budget.id, **draft)
    return BudgetCreated(**_fields(made), webhook_secret=None if secret is None else secret.reveal())


@router.delete("/v1/billing/budgets/{budget_id}", status_code=204)
async def delete_budget(request: Request, budget_id: PathId) -> Response:
    """Delete one."""
    principal = require(request, "spend")
    async with platform_of(request).database.write() as session:
        await budgets.delete_budget(session, principal.organisation_id, budget_id)
        await note(request, session, "budget.delete", "budget", budget_id)
    return Response(status_code=204)


def _fields(watched: Watched) -> dict[str, Any]:
    budget = watched.budget
    return {
        "id": budget.id,
        "name": budget.name,
        "workspace_id": budget.workspace_id,
        "amount": budget.amount,
        "thresholds": budget.thresholds,
        "webhook_url": budget.webhook_url,
        "spend": watched.spend,
        "warned_percent": watched.warned_percent,
        "last_problem": watched.last_problem,
    }
