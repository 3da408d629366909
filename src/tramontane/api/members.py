"""/v1/members and /v1/invitations: who belongs to the organisation."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.accounts import invitations, members
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.links import link_to
from tramontane.api.owned import OWNED_RESPONSES, PathId
from tramontane.api.platform import platform_of
from tramontane.api.schemas.accounts import (
    Invitation,
    InvitationCreated,
    InvitationDraft,
    InvitationList,
    Member,
    MemberChange,
    MemberList,
)

router = APIRouter(route_class=AuthenticatedRoute, tags=["organisation"], responses=OWNED_RESPONSES)


@router.get("/v1/members")
async def list_members(request: Request) -> MemberList:
    """The organisation's."""
    principal = require(request, "members")
    async with platform_of(request).database.read() as session:
        found = await members.list_members(session, principal.organisation_id)
    return MemberList(data=[Member(**asdict(member)) for member in found])


@router.patch("/v1/members/{user_id}")
async def change_member(request: Request, user_id: PathId, body: MemberChange) -> Member:
    """Give a member another role."""
    principal, platform = require(request, "members"), platform_of(request)
    async with platform.database.write() as session:
        before, member = await members.change_role(
            session, principal.organisation_id, principal.role, user_id, body.role
        )
        await note(request, session, "member.change", "user", user_id, name=member.name, before=before, role=body.role)
    platform.authenticator.forget(user_id)
    return Member(**asdict(member))


@router.delete("/v1/members/{user_id}", status_code=204)
async def remove_member(request: Request, user_id: PathId) -> Response:
    """Take a member out: keys and sessions of this organisation end at once."""
    principal, platform = require(request, "members"), platform_of(request)
    async with platform.database.write() as session:
        role = await members.remove_member(session, principal.organisation_id, principal.role, user_id)
        await note(request, session, "member.remove", "user", user_id, role=role)
    platform.authenticator.forget(user_id)
    return Response(status_code=204)


@router.get("/v1/invitations")
async def list_invitations(request: Request) -> InvitationList:
    """The organisation's."""
    principal = require(request, "members")
    async with platform_of(request).database.read() as session:
        found = await invitations.list_invitations(session, principal.organisation_id)
    return InvitationList(data=[_body(view) for view in found])


@router.post("/v1/invitations")
async def create_invitation(request: Request, body: InvitationDraft) -> InvitationCreated:
    """Make a link by which somebody becomes a member."""
    principal = require(request, "members")
    async with platform_of(request).database.write() as session:
        await members.check_may_invite(session, principal.organisation_id, principal.user_id, body.role)
        invitation, token = await invitations.invite(
            session, principal.organisation_id, principal.user_id, body.role, body.email
        )
        detail = {"role": body.role, "email": invitation.email}
        await note(request, session, "invitation.create", "invitation", invitation.id, **detail)
        view = await invitations.view_of(session, invitation)
    link = link_to(request, f"/join/{token.reveal()}")
    return InvitationCreated(**_body(view).model_dump(), link=link)


@router.delete("/v1/invitations/{invitation_id}", status_code=204)
async def revoke_invitation(request: Request, invitation_id: PathId) -> Response:
    """End an invitation."""
    principal = require(request, "members")
    async with platform_of(request).database.write() as session:
        invitation = await invitations.revoke_invitation(session, principal.organisation_id, invitation_id)
        await note(request, session, "invitation.revoke", "invitation", invitation.id, email=invitation.email)
    return Response(status_code=204)


def _body(view: invitations.InvitationView) -> Invitation:
    invitation = view.invitation
    return Invitation(
        id=invitation.id,
        email=invitation.email,
        role=invitation.role,
        invited_by=view.invited_by,
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
        state=view.state,
    )
