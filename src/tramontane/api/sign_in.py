"""Signing in by password, registering, and joining by invitation."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from tramontane.accounts import invitations, registration, sessions, tables, users
from tramontane.accounts.principal import Principal
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sessions import Opened
from tramontane.accounts.settings import read_settings
from tramontane.api.auditing import address_of
from tramontane.api.authentication import browser_principal, require_same_origin, set_session
from tramontane.api.owned import OWNED_RESPONSES, Token
from tramontane.api.platform import Platform, platform_of
from tramontane.api.schemas.accounts import (
    InvitationAcceptance,
    InvitationView,
    Registration,
    SignIn,
    SignInOptions,
)
from tramontane.billing.lots import grant_free
from tramontane.errors import InvalidRequestError, NotAllowedError

open_router = APIRouter(tags=["account"], responses=OWNED_RESPONSES)


@open_router.get("/v1/sign-in/options", openapi_extra={"security": []})
async def get_sign_in_options(request: Request) -> SignInOptions:
    """How one may sign in here."""
    platform = platform_of(request)
    async with platform.database.read() as session:
        settings = await read_settings(session)
    return SignInOptions(password=True, oidc=_provider(platform), registration=settings.self_registration)


@open_router.post("/v1/sign-in", status_code=204, openapi_extra={"security": []})
async def sign_in_by_password(request: Request, body: SignIn) -> Response:
    """Open a browser session by address and password."""
    require_same_origin(request)
    platform = platform_of(request)
    opened = await platform.sign_ins.by_password(
        platform.database, body.email, Secret(body.password), address_of(request)
    )
    return _signed_in(request, opened)


@open_router.post("/v1/register", status_code=204, openapi_extra={"security": []})
async def register(request: Request, body: Registration) -> Response:
    """Make an organisation of one's own, where the operator allows it; opens a browser session."""
    require_same_origin(request)
    platform, address = platform_of(request), address_of(request)
    async with platform.database.read() as session:
        await _check_open(session)
    platform.sign_ins.admit_stranger(address)
    made = await platform.sign_ins.passwords.digest(Secret(body.password))
    async with platform.database.write() as session:
        await _check_open(session)
        opened = await registration.register(
            session, body.name, body.email, by="registration", address=address, password_hash=made
        )
        await give_free_quota(session, opened.organisation_id)
    return _signed_in(request, opened)


@open_router.get("/v1/join/{token}", openapi_extra={"security": []})
async def get_invitation(request: Request, token: Token) -> InvitationView:
    """What an invitation is to."""
    platform = platform_of(request)
    async with platform.database.read() as session:
        view = await invitations.find_open(session, token)
    return InvitationView(
        organisation=view.organisation,
        invited_by=view.invited_by,
        role=view.invitation.role,
        email=view.invitation.email,
        oidc=_provider(platform),
    )


@open_router.post("/v1/join/{token}", status_code=204, openapi_extra={"security": []})
async def accept_invitation(request: Request, token: Token, body: InvitationAcceptance) -> Response:
    """Become a member: as who is signed in with this browser, or as somebody new, who then is signed in."""
    require_same_origin(request)
    principal = await browser_principal(request)
    if principal is None:
        return _signed_in(request, await _join_as_new(request, token, body))
    await _join_as(request, token, principal)
    return Response(status_code=204)


async def give_free_quota(session: AsyncSession, organisation_id: str) -> None:
    """What the operator lets each who registered spend in a month."""
    settings = await read_settings(session)
    if settings.free_monthly_nano_euros:
        await grant_free(session, organisation_id, settings.free_monthly_nano_euros)


async def _join_as_new(request: Request, token: str, body: InvitationAcceptance) -> Opened:
    platform, address = platform_of(request), address_of(request)
    for field in ("name", "email", "password"):
        if getattr(body, field) is None:
            raise InvalidRequestError(field, f"Somebody new needs a {field}: send it, or sign in first.")
    assert body.name is not None
    assert body.email is not None
    assert body.password is not None
    with platform.sign_ins.trying(address):
        async with platform.database.read() as session:
            invitations.check_address(await invitations.find_open(session, token), body.email)
        made = await platform.sign_ins.passwords.digest(Secret(body.password))
        async with platform.database.write() as session:
            view = await invitations.find_open(session, token)
            user = await users.create_user(session, body.name, body.email, password_hash=made)
            await registration.join(session, view, user.id, address)
            opened = await sessions.open_session(
                session, user.id, by="invitation", address=address, organisation_id=view.invitation.organisation_id
            )
    assert opened is not None
    return opened


async def _join_as(request: Request, token: str, principal: Principal) -> None:
    """The browser goes on in the organisation that it has joined."""
    platform = platform_of(request)
    async with platform.database.write() as session:
        view = await invitations.find_open(session, token)
        user = await session.get_one(tables.User, principal.user_id)
        invitations.check_address(view, user.email)
        await registration.join(session, view, user.id, address_of(request))
        workspace = await sessions.first_workspace(session, user.id, view.invitation.organisation_id)
        assert workspace is not None  # each organisation has one
        await sessions.switch_workspace(session, principal.credential_id, user.id, workspace.id)
    platform.authenticator.forget(principal.user_id)


async def _check_open(session: AsyncSession) -> None:
    if not (await read_settings(session)).self_registration:
        raise NotAllowedError("Nobody may register here: ask for an invitation.", "registration_closed")


def _signed_in(request: Request, opened: Opened) -> Response:
    response = Response(status_code=204)
    set_session(request, response, opened.token)
    return response


def _provider(platform: Platform) -> str | None:
    provider = platform.identity_provider
    return provider.settings.name if provider else None
