"""/v1/me/sessions: where one is signed in."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.accounts import sessions
from tramontane.accounts.organisations import lock_organisation
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require_browser
from tramontane.api.owned import OWNED_RESPONSES, PathId
from tramontane.api.platform import platform_of
from tramontane.api.schemas.accounts import BrowserSession, BrowserSessionList

router = APIRouter(route_class=AuthenticatedRoute, tags=["account"], responses=OWNED_RESPONSES)


@router.get("/v1/me/sessions")
async def list_browser_sessions(request: Request) -> BrowserSessionList:
    """One's own."""
    principal = require_browser(request)
    async with platform_of(request).database.read() as session:
        found = await sessions.list_sessions(session, principal.user_id)
    shown = [
        BrowserSession(
            id=each.id,
            workspace_name=workspace,
            created_at=each.created_at,
            last_used_at=each.last_used_at,
            expires_at=each.expires_at,
            is_current=each.id == principal.credential_id,
        )
        for each, workspace in found
    ]
    return BrowserSessionList(data=shown)


@router.delete("/v1/me/sessions/{session_id}", status_code=204)
async def end_browser_session(request: Request, session_id: PathId) -> Response:
    """Sign that browser out."""
    principal, platform = require_browser(request), platform_of(request)
    async with platform.database.write() as session:
        await lock_organisation(session, principal.organisation_id)
        await sessions.end_session(session, principal.user_id, session_id)
        await note(request, session, "session.end", "session", session_id)
    platform.authenticator.forget(session_id)
    return Response(status_code=204)
