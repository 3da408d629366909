"""GET /openapi.json: the API's own description."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import JSONResponse

import tramontane
from tramontane.api.authentication import AuthenticatedRoute

router = APIRouter(route_class=AuthenticatedRoute, include_in_schema=False)


@router.get("/openapi.json")
async def description(request: Request) -> JSONResponse:
    """Made once, at the first call."""
    app = request.app
    if app.openapi_schema is None:
        app.openapi_schema = describe(app.routes)
    return JSONResponse(app.openapi_schema)


def describe(routes: Any) -> dict[str, Any]:
    """The description of all routes that are not pages."""
    schema = get_openapi(
        title="Tramontane",
        version=tramontane.__version__,
        description="Models of the Mistral family, for clients of la Plateforme and of OpenAI's API.",
        routes=routes,
    )
    bearer = {"type": "http", "scheme": "bearer", "description": "An API key."}
    schema.setdefault("components", {})["securitySchemes"] = {"key": bearer}
    schema["security"] = [{"key": []}]
    return schema
