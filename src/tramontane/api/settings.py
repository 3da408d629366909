"""/v1/settings: what the operator sets for the whole installation."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import select
from starlette.requests import Request

from tramontane.accounts import settings
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, changes_of
from tramontane.api.platform import platform_of
from tramontane.api.schemas.accounts import InstallationSettings, InstallationSettingsChange
from tramontane.catalogue.local import OPERATOR, local_provider
from tramontane.catalogue.providers import check_region
from tramontane.catalogue.tables import ProviderRow

router = APIRouter(route_class=AuthenticatedRoute, tags=["operator"], responses=OWNED_RESPONSES)

_OF_MACHINE = ("region", "operator")  # which the catalogue keeps


@router.get("/v1/settings")
async def get_settings(request: Request) -> InstallationSettings:
    """As they are."""
    require(request, "operate")
    async with platform_of(request).database.read() as session:
        machine = await session.scalar(select(ProviderRow).where(ProviderRow.kind == "local"))
        return _body(await settings.read_settings(session), machine)


@router.patch("/v1/settings")
async def change_settings(request: Request, body: InstallationSettingsChange) -> InstallationSettings:
    """Change what the body names."""
    require(request, "operate")
    platform, changes = platform_of(request), changes_of(body, nullable=("region",))
    check_region(changes.get("region"))
    of_machine: dict[str, Any] = {name: changes[name] for name in _OF_MACHINE if name in changes}
    async with platform.database.write() as session:
        machine = await local_provider(session)
        for name, value in of_machine.items():
            setattr(machine, name, value)
        of_accounts = {name: value for name, value in changes.items() if name not in _OF_MACHINE}
        kept = await settings.change_settings(session, of_accounts)
        await note(request, session, "settings.change", "installation", "1", **changes)
        shown = _body(kept, machine)
    if of_machine:
        await platform.directory.refresh()
    return shown


def _body(kept: settings.Settings, machine: ProviderRow | None) -> InstallationSettings:
    return InstallationSettings(
        self_registration=kept.self_registration,
        free_monthly_nano_euros=kept.free_monthly_nano_euros,
        region=machine.region if machine else None,
        operator=machine.operator if machine else OPERATOR,
    )
