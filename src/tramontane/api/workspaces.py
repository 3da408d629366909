"""/v1/workspaces: where work is done, and where its requests may go."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.accounts import tables, workspaces
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, PathId, changes_of
from tramontane.api.platform import platform_of, principal_of
from tramontane.api.schemas.accounts import (
    RoutingPolicy,
    Workspace,
    WorkspaceChange,
    WorkspaceDraft,
    WorkspaceList,
)
from tramontane.errors import ConflictError
from tramontane.gateway.policy import parse_policy

router = APIRouter(route_class=AuthenticatedRoute, tags=["organisation"], responses=OWNED_RESPONSES)


@router.get("/v1/workspaces")
async def list_workspaces(request: Request) -> WorkspaceList:
    """The organisation's."""
    async with platform_of(request).database.read() as session:
        found = await workspaces.list_workspaces(session, principal_of(request).organisation_id)
    return WorkspaceList(data=[_body(workspace, num_keys) for workspace, num_keys in found])


@router.post("/v1/workspaces")
async def create_workspace(request: Request, body: WorkspaceDraft) -> Workspace:
    """Make one."""
    principal = require(request, "workspaces")
    async with platform_of(request).database.write() as session:
        workspace = await workspaces.create_workspace(session, principal.organisation_id, body.name)
        await note(request, session, "workspace.create", "workspace", workspace.id, name=body.name)
    return _body(workspace, 0)


@router.patch("/v1/workspaces/{workspace_id}")
async def change_workspace(request: Request, workspace_id: PathId, body: WorkspaceChange) -> Workspace:
    """Change what the body names."""
    principal, platform = require(request, "workspaces"), platform_of(request)
    changes: dict[str, Any] = changes_of(body, nullable=("policy",))
    parse_policy(changes.get("policy"))
    if changes.get("archived") and workspace_id == principal.workspace_id:
        raise ConflictError("You are at work in this workspace: choose another one before it is archived.")
    async with platform.database.write() as session:
        workspace = await workspaces.change_workspace(session, principal.organisation_id, workspace_id, changes)
        await note(
            request, session, "workspace.change", "workspace", workspace.id, **{"name": workspace.name, **changes}
        )
        num_keys = await workspaces.count_keys(session, workspace.id)
    platform.authenticator.forget(workspace.id)
    return _body(workspace, num_keys)


def _body(workspace: tables.Workspace, num_keys: int) -> Workspace:
    policy = None if workspace.policy is None else RoutingPolicy.model_validate(workspace.policy)
    return Workspace(
        id=workspace.id,
        name=workspace.name,
        created_at=workspace.created_at,
        archived_at=workspace.archived_at,
        policy=policy,
        num_keys=num_keys,
    )
