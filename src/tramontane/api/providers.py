"""/v1/providers: who computes; for the operator."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.accounts.secrets import Secret
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.catalogue_bodies import provider_body
from tramontane.api.owned import OWNED_RESPONSES, PathId, changes_of
from tramontane.api.platform import platform_of
from tramontane.api.schemas.catalogue import (
    Provider,
    ProviderChange,
    ProviderCheck,
    ProviderDraft,
    ProviderList,
)
from tramontane.catalogue import providers
from tramontane.catalogue.directory import provider_facts
from tramontane.catalogue.tables import ProviderRow
from tramontane.errors import InvalidRequestError, TramontaneError

router = APIRouter(route_class=AuthenticatedRoute, tags=["operator"], responses=OWNED_RESPONSES)


@router.get("/v1/providers")
async def list_providers(request: Request) -> ProviderList:
    """All of them."""
    require(request, "operate")
    async with platform_of(request).database.read() as session:
        return ProviderList(data=[provider_body(row) for row in await providers.list_providers(session)])


@router.post("/v1/providers")
async def create_provider(request: Request, body: ProviderDraft) -> Provider:
    """Add a server that speaks OpenAI's API."""
    require(request, "operate")
    platform, fields = platform_of(request), body.model_dump(exclude={"key"})
    fields["base_url"] = await providers.checked_base_url(body.base_url)
    async with platform.database.write() as session:
        row = await providers.create_provider(session, fields)
        if body.key is not None:
            row.encrypted_key = platform.vault.encrypt(_secret(body.key), row.id)
        await note(request, session, "provider.create", "provider", row.id, **fields, has_key=body.key is not None)
    await platform.directory.refresh()
    return provider_body(row)


@router.patch("/v1/providers/{provider_id}")
async def change_provider(request: Request, provider_id: PathId, body: ProviderChange) -> Provider:
    """Change what the body names."""
    require(request, "operate")
    platform, changes = platform_of(request), changes_of(body, nullable=("region", "key"))
    if "base_url" in changes:
        changes["base_url"] = await providers.checked_base_url(changes["base_url"])
    async with platform.database.write() as session:
        # Locked, so that a key that is given just now is not sent to a URL that is set just now.
        row = await providers.find_provider(session, provider_id, lock=True)
        _check_key(row, changes)
        noted = {name: value for name, value in changes.items() if name != "key"}
        if "key" in changes:
            key = changes.pop("key")
            row.encrypted_key = None if key is None else platform.vault.encrypt(_secret(key), row.id)
            noted["key"] = "removed" if key is None else "changed"
        await providers.change_provider(session, row, changes)
        await note(request, session, "provider.change", "provider", row.id, **noted)
    await platform.directory.refresh()
    return provider_body(row)


@router.post("/v1/providers/{provider_id}/check")
async def check_provider(request: Request, provider_id: PathId) -> ProviderCheck:
    """Ask it for its models."""
    require(request, "operate")
    platform = platform_of(request)
    async with platform.database.read() as session:
        row = await providers.find_provider(session, provider_id)
    if row.kind == "local":
        cards = [card for provider in platform.providers for card in provider.cards()]
        return ProviderCheck(ok=True, problem=None, models=[card.name for card in cards])
    try:
        models = await platform.remote.list_models(provider_facts(row))
    except TramontaneError as error:
        return ProviderCheck(ok=False, problem=str(error), models=[])
    return ProviderCheck(ok=True, problem=None, models=models)


def _check_key(row: ProviderRow, changes: dict[str, Any]) -> None:
    """Raises InvalidRequestError."""
    if row.kind == "local" and changes.get("key") is not None:
        raise InvalidRequestError("key", "This machine is called by nobody: it has no URL and no key.")
    moves = changes.get("base_url", row.base_url) != row.base_url
    if moves and row.encrypted_key is not None and "key" not in changes:
        raise InvalidRequestError("key", "A new URL needs the key anew: what is kept was given for the old one alone.")


def _secret(key: str) -> Secret:
    """Raises InvalidRequestError for what no header can carry."""
    if not key or not all(" " < character <= "~" for character in key):
        raise InvalidRequestError("key", "A key is letters, digits and punctuation of ASCII, without blanks.")
    return Secret(key)
