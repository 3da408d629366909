"""/v1/presets: settings of conversations under names."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.owned import OWNED_RESPONSES, PathId, changes_of, owner_of
from tramontane.api.platform import platform_of
from tramontane.api.schemas.conversations import PresetBody, PresetChange, PresetDraft, PresetList
from tramontane.conversations import presets
from tramontane.conversations.tables import Preset

router = APIRouter(route_class=AuthenticatedRoute, tags=["presets"], responses=OWNED_RESPONSES)


@router.get("/v1/presets")
async def list_presets(request: Request) -> PresetList:
    """The user's presets, by name."""
    async with platform_of(request).database.read() as session:
        found = await presets.list_presets(session, owner_of(request))
    return PresetList(data=[_body(preset) for preset in found])


@router.post("/v1/presets")
async def create_preset(request: Request, body: PresetDraft) -> PresetBody:
    """Keep settings under a name."""
    async with platform_of(request).database.write() as session:
        return _body(await presets.create_preset(session, owner_of(request), body.model_dump()))


@router.patch("/v1/presets/{preset_id}")
async def change_preset(request: Request, preset_id: PathId, body: PresetChange) -> PresetBody:
    """Change what the body names."""
    changes = changes_of(body, nullable=("temperature", "max_tokens"))
    async with platform_of(request).database.write() as session:
        return _body(await presets.change_preset(session, owner_of(request), preset_id, changes))


@router.delete("/v1/presets/{preset_id}", status_code=204)
async def delete_preset(request: Request, preset_id: PathId) -> Response:
    """Delete a preset."""
    async with platform_of(request).database.write() as session:
        await presets.delete_preset(session, owner_of(request), preset_id)
    return Response(status_code=204)


def _body(preset: Preset) -> PresetBody:
    return PresetBody(**{name: getattr(preset, name) for name in PresetBody.model_fields})
