"""/v1/keys: API keys."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from tramontane.accounts import keys, tables
from tramontane.accounts.permissions import allows
from tramontane.accounts.principal import Principal
from tramontane.accounts.secrets import Secret
from tramontane.accounts.workspaces import find_workspace
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, PathId, changes_of
from tramontane.api.platform import platform_of
from tramontane.api.schemas.accounts import (
    ApiKey,
    ApiKeyChange,
    ApiKeyCreated,
    ApiKeyDraft,
    ApiKeyList,
    Rotation,
)
from tramontane.billing.limits import copy_limit
from tramontane.conversations.ids import id_or_nobodys
from tramontane.errors import ConflictError, NotAllowedError

router = APIRouter(route_class=AuthenticatedRoute, tags=["keys"], responses=OWNED_RESPONSES)


@router.get("/v1/keys")
async def list_keys(request: Request) -> ApiKeyList:
    """The organisation's, or one's own for who may see no others."""
    principal = require(request, "own_keys")
    async with platform_of(request).database.read() as session:
        found = await keys.list_keys(session, principal.organisation_id, _whose(principal))
    return ApiKeyList(data=[_body(view) for view in found])


@router.post("/v1/keys")
async def create_key(request: Request, body: ApiKeyDraft) -> ApiKeyCreated:
    """Make a key; it is shown only now."""
    principal = require(request, "own_keys")
    _check_models(principal, body.models)
    workspace_id = principal.workspace_id if body.workspace_id is None else id_or_nobodys(body.workspace_id)
    async with platform_of(request).database.write() as session:
        workspace = await find_workspace(session, principal.organisation_id, workspace_id)
        if workspace.archived_at is not None:
            raise ConflictError("This workspace is archived: choose another, or restore it first.")
        await _check_end(session, principal, body.expires_at)
        key, secret = await keys.make_key(
            session, workspace.id, principal.user_id, body.name,
            scopes=body.scopes, models=body.models, expires_at=body.expires_at,
        )  # fmt: skip
        await note(request, session, "key.create", "key", key.id, **_noted(key))
        return await _created(session, principal, key, secret)


@router.patch("/v1/keys/{key_id}")
async def change_key(request: Request, key_id: PathId, body: ApiKeyChange) -> ApiKey:
    """Change what the body names."""
    principal, platform = require(request, "own_keys"), platform_of(request)
    changes: dict[str, Any] = changes_of(body, nullable=("models", "expires_at"))
    async with platform.database.write() as session:
        view = await keys.find_key(session, principal.organisation_id, _whose(principal), key_id)
        _check_models(principal, view.key.models)
        if "expires_at" in changes:
            await _check_end(session, principal, changes["expires_at"])
        await keys.change_key(session, view, changes)
        _check_models(principal, view.key.models)
        await note(request, session, "key.change", "key", key_id, **_noted(view.key))
    platform.authenticator.forget(key_id)
    return _body(view)


@router.post("/v1/keys/{key_id}/rotate")
async def rotate_key(request: Request, key_id: PathId, body: Rotation) -> ApiKeyCreated:
    """Make a key like this one, which goes on working for a while."""
    principal, platform = require(request, "own_keys"), platform_of(request)
    async with platform.database.write() as session:
        view = await keys.find_key(session, principal.organisation_id, _whose(principal), key_id)
        if view.key.user_id != principal.user_id:  # else who makes it could act in the other's name
            raise NotAllowedError("Only its user rotates a key: revoke it, and ask its user to make another.")
        _check_models(principal, view.key.models)
        key, secret = await keys.rotate_key(session, view, timedelta(hours=body.overlap_hours))
        await copy_limit(session, key_id, key.id)
        await note(
            request, session, "key.rotate", "key", key.id,
            **_noted(key), rotated_from=key_id, overlap_hours=body.overlap_hours,
        )  # fmt: skip
        created = await _created(session, principal, key, secret)
    platform.authenticator.forget(key_id)
    await platform.rates.refresh()
    return created


@router.delete("/v1/keys/{key_id}", status_code=204)
async def revoke_key(request: Request, key_id: PathId) -> Response:
    """End a key at once."""
    principal, platform = require(request, "own_keys"), platform_of(request)
    async with platform.database.write() as session:
        view = await keys.find_key(session, principal.organisation_id, _whose(principal), key_id)
        if await keys.revoke_key(session, view.key.workspace_id, key_id):
            await note(request, session, "key.revoke", "key", key_id, name=view.key.name)
    platform.authenticator.forget(key_id)
    return Response(status_code=204)


def _whose(principal: Principal) -> str | None:
    """Whose keys the principal sees; None: everybody's."""
    return None if allows(principal, "keys") else principal.user_id


def _check_models(principal: Principal, models: Collection[str] | None) -> None:
    """A key that is restricted to models makes and changes no key that reaches more."""
    if principal.models is not None and (models is None or not principal.models.issuperset(models)):
        raise NotAllowedError("This key is for some models only, and so are the keys that it makes or changes.")


async def _check_end(session: AsyncSession, principal: Principal, expires_at: datetime | None) -> None:
    """A key that ends makes no key that outlives it, and does not put off its own end: a leak would be for good."""
    if principal.key_id is None:
        return
    end = (await keys.find_key(session, principal.organisation_id, None, principal.key_id)).key.expires_at
    if end is not None and (expires_at is None or expires_at > end):
        raise NotAllowedError("This key ends, and so do the keys that it makes or changes, no later: use a browser.")


async def _created(session: AsyncSession, principal: Principal, key: tables.ApiKey, secret: Secret) -> ApiKeyCreated:
    view = await keys.find_key(session, principal.organisation_id, None, key.id)
    return ApiKeyCreated(**_body(view).model_dump(), key=secret.reveal())


def _noted(key: tables.ApiKey) -> dict[str, Any]:
    expires_at = None if key.expires_at is None else key.expires_at.isoformat()
    return {
        "name": key.name,
        "workspace_id": key.workspace_id,
        "scopes": key.scopes,
        "models": key.models,
        "expires_at": expires_at,
    }


def _body(view: keys.KeyView) -> ApiKey:
    of_view = {"workspace_name": view.workspace, "user_name": view.user, "state": view.state}
    of_key = {name: getattr(view.key, name) for name in ApiKey.model_fields if name not in of_view}
    return ApiKey.model_validate({**of_key, **of_view})
