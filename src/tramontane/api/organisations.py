"""/v1/organisations: all customers, for the operator; /v1/organisation: one's own."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.accounts import organisations, tables
from tramontane.accounts.invitations import invite
from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.links import link_to
from tramontane.api.owned import OWNED_RESPONSES
from tramontane.api.platform import platform_of, principal_of
from tramontane.api.schemas.accounts import (
    Organisation,
    OrganisationChange,
    OrganisationCreated,
    OrganisationDraft,
    OrganisationList,
)

router = APIRouter(route_class=AuthenticatedRoute, tags=["organisation"], responses=OWNED_RESPONSES)


@router.get("/v1/organisation")
async def get_organisation(request: Request) -> Organisation:
    """One's own."""
    async with platform_of(request).database.read() as session:
        return _body(await session.get_one(tables.Organisation, principal_of(request).organisation_id))


@router.patch("/v1/organisation")
async def rename_organisation(request: Request, body: OrganisationChange) -> Organisation:
    """Give it another name."""
    principal = require(request, "workspaces")
    async with platform_of(request).database.write() as session:
        organisation = await organisations.lock_organisation(session, principal.organisation_id)
        before, organisation.name = organisation.name, body.name
        await note(
            request, session, "organisation.rename", "organisation", organisation.id, before=before, name=body.name
        )
        return _body(organisation)


@router.get("/v1/organisations")
async def list_organisations(request: Request) -> OrganisationList:
    """All of them; for the operator."""
    require(request, "sell")
    async with platform_of(request).database.read() as session:
        found = await organisations.list_organisations(session)
    return OrganisationList(data=[_body(organisation) for organisation in found])


@router.post("/v1/organisations")
async def create_organisation(request: Request, body: OrganisationDraft) -> OrganisationCreated:
    """Make a customer, and the link by which its owner comes in; for the operator."""
    principal = require(request, "operate")
    async with platform_of(request).database.write() as session:
        organisation = await organisations.create_organisation(session, body.name)
        _, token = await invite(session, organisation.id, principal.user_id, "owner", None)
        await note(request, session, "organisation.create", "organisation", organisation.id, name=body.name)
    link = link_to(request, f"/join/{token.reveal()}")
    return OrganisationCreated(**_body(organisation).model_dump(), invitation_link=link)


def _body(organisation: tables.Organisation) -> Organisation:
    return Organisation(**{name: getattr(organisation, name) for name in Organisation.model_fields})
