"""/v1/me: who asks, and what one may change of oneself."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from tramontane.accounts import sessions, tables, users
from tramontane.accounts.audit import Actor, append
from tramontane.accounts.permissions import permissions_of
from tramontane.accounts.principal import Principal
from tramontane.accounts.secrets import Secret
from tramontane.accounts.workspaces import workspaces_of
from tramontane.api.auditing import address_of, note
from tramontane.api.authentication import AuthenticatedRoute, require_browser
from tramontane.api.owned import OWNED_RESPONSES, changes_of
from tramontane.api.platform import platform_of, principal_of
from tramontane.api.schemas.accounts import Me, MeChange, PasswordChange, WorkspaceChoice, WorkspaceRef
from tramontane.conversations.ids import id_or_nobodys

router = APIRouter(route_class=AuthenticatedRoute, tags=["account"], responses=OWNED_RESPONSES)


@router.get("/v1/me")
async def get_me(request: Request) -> Me:
    """Who asks, in which workspace, and what the role allows."""
    async with platform_of(request).database.read() as session:
        return await _me(session, principal_of(request))


@router.patch("/v1/me")
async def change_me(request: Request, body: MeChange) -> Me:
    """Change what the body names."""
    principal, changes = principal_of(request), changes_of(body, nullable=())
    if "email" in changes:
        require_browser(request)  # it is a way to sign in: no program's key changes it
    async with platform_of(request).database.write() as session:
        user = await session.get_one(tables.User, principal.user_id)
        await users.change_user(session, user, changes)
        await note(request, session, "user.change", "user", user.id, **changes)
        return await _me(session, principal)


@router.put("/v1/me/password", status_code=204)
async def change_password(request: Request, body: PasswordChange) -> Response:
    """Set a password; all other browsers are signed out."""
    principal, platform = require_browser(request), platform_of(request)
    current = None if body.current is None else Secret(body.current)
    actor, address = Actor(principal.organisation_id, principal.user_id), address_of(request)
    await platform.sign_ins.change_password(
        platform.database, actor, principal.credential_id, current, Secret(body.new), address
    )
    platform.authenticator.forget(principal.user_id)
    return Response(status_code=204)


@router.put("/v1/me/workspace", status_code=204)
async def choose_workspace(request: Request, body: WorkspaceChoice) -> Response:
    """Go on in another workspace; this browser's session only."""
    principal, platform = require_browser(request), platform_of(request)
    async with platform.database.write() as session:
        workspace = await sessions.switch_workspace(
            session, principal.credential_id, principal.user_id, id_or_nobodys(body.workspace_id)
        )
        # Noted where the browser has come to: there it is as if it had signed in.
        actor, detail = Actor(workspace.organisation_id, principal.user_id), {"workspace": workspace.name}
        await append(session, actor, address_of(request), "session.move", "session", principal.credential_id, detail)
    platform.authenticator.forget(principal.credential_id)
    return Response(status_code=204)


async def _me(session: AsyncSession, principal: Principal) -> Me:
    user = await session.get_one(tables.User, principal.user_id)
    workspace = await session.get_one(tables.Workspace, principal.workspace_id)
    organisation = await session.get_one(tables.Organisation, principal.organisation_id)
    refs = [
        WorkspaceRef(id=each.id, name=each.name, organisation_name=name)
        for each, name in await workspaces_of(session, user.id)
    ]
    return Me(
        user_id=user.id,
        user_name=user.name,
        email=user.email,
        has_password=user.password_hash is not None,
        workspace_id=workspace.id,
        workspace_name=workspace.name,
        organisation_id=organisation.id,
        organisation_name=organisation.name,
        is_operator=organisation.is_operator,
        role=principal.role,
        workspaces=refs,
        permissions=sorted(permissions_of(principal.role, principal.is_operator)),
    )
