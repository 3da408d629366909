"""/v1/route: where a request would go, and why."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.owned import OWNED_RESPONSES
from tramontane.api.platform import platform_of, principal_of
from tramontane.api.schemas.catalogue import RouteConsidered, RouteExplanation, RouteTrial
from tramontane.catalogue.directory import Offering
from tramontane.gateway.dispatching import Explanation
from tramontane.gateway.policy import parse_policy

router = APIRouter(route_class=AuthenticatedRoute, tags=["catalogue"], responses=OWNED_RESPONSES)


@router.get("/v1/route")
async def explain_route(request: Request, model: str) -> RouteExplanation:
    """For a model, in the present workspace."""
    gateway = platform_of(request).gateway
    return explanation_body(model, gateway.explain(principal_of(request), model))


@router.post("/v1/route")
async def try_route(request: Request, body: RouteTrial) -> RouteExplanation:
    """The same, as if the workspace had another policy: before it is saved."""
    gateway = platform_of(request).gateway
    policy = parse_policy(None if body.policy is None else body.policy.model_dump())
    return explanation_body(body.model, gateway.explain(principal_of(request), body.model, policy))


def explanation_body(model: str, explanation: Explanation) -> RouteExplanation:
    """The offerings that would be tried, in their order, then the others."""
    order = explanation.plan.order
    considered = [
        *(_considered(tried.offering, place, tried.reason) for place, tried in enumerate(order, start=1)),
        *(_considered(left.offering, None, left.reason) for left in explanation.plan.left_out),
    ]
    return RouteExplanation(
        model=model,
        resolved=explanation.resolved.model,
        chosen=order[0].offering.id if order else None,
        considered=considered,
        problem=None if explanation.problem is None else str(explanation.problem),
    )


def _considered(offering: Offering, place: int | None, reason: str) -> RouteConsidered:
    provider = offering.provider
    return RouteConsidered(
        offering_id=offering.id,
        provider_name=provider.name,
        operator=provider.operator,
        region=provider.region,
        place=place,
        reason=reason,
    )
