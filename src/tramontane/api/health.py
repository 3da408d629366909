"""GET /health, /ready and /metrics: for whoever keeps the server running."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.platform import platform_of

open_router = APIRouter(tags=["health"])
router = APIRouter(route_class=AuthenticatedRoute, tags=["health"])


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests would be served now; how many models are in which state, but not which."""

    ready: bool
    database: bool
    draining: bool
    models: dict[Literal["ready", "loading", "failed"], int]


@open_router.get("/health")
async def health() -> Health:
    """Live: the process answers."""
    return Health()


@open_router.get("/ready", response_model=Readiness, responses={503: {"model": Readiness}})
async def ready(request: Request) -> JSONResponse:
    """Ready: all models are loaded, the database answers, and the server is not ending. 503 until then."""
    platform = platform_of(request)
    coming = frozenset() if platform.deployments is None else platform.deployments.on_the_way()
    states = Counter(card.state for card in platform.gateway.cards() if card.name not in coming)
    database = platform.meter.is_ready and await platform.database.is_ready()
    all_ready = database and not platform.draining and states["ready"] == states.total() > 0
    body = Readiness(ready=all_ready, database=database, draining=platform.draining, models=dict(states))
    return JSONResponse(body.model_dump(), 200 if all_ready else 503)


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request) -> Response:
    """Counters and gauges, in the text format of Prometheus."""
    require(request, "operate")
    return Response(generate_latest(platform_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)
