"""Signing in by an identity provider: only its own fresh word about this sign-in is believed, and only once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from sqlalchemy import select, update

from tests.accounts.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    EC_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    Idp,
    follow,
    running_idp,
)
from tests.accounts.making import organisation_of
from tests.storage.places import Place
from tramontane.accounts.errors import AccountError
from tramontane.accounts.identities import SignedIn, sign_in_by_identity
from tramontane.accounts.invitations import invite
from tramontane.accounts.oidc import LASTS, Identity, IdentityProvider, OidcError, OidcSettings
from tramontane.accounts.owners import first_owner
from tramontane.accounts.secrets import Secret
from tramontane.accounts.settings import change_settings
from tramontane.accounts.tables import Membership, User
from tramontane.outbound.client import Outbound
from tramontane.storage.database import Database

SALT = b"salt" * 8
CALLBACK = "http://127.0.0.1:1/sign-in/oidc/callback"


class Clock:
    def __init__(self) -> None:
        self.passed = 1000.0

    def __call__(self) -> float:
        return self.passed


@dataclass
class Trial:
    """A sign-in, step by step."""

    idp: Idp
    provider: IdentityProvider
    clock: Clock

    async def begin(self, invitation: str | None = None) -> tuple[str, dict[str, str]]:
        """The cookie, and what the browser comes back with."""
        begun = await self.provider.begin(SALT, CALLBACK, invitation)
        back = await asyncio.to_thread(follow, begun.url)
        assert back.startswith(CALLBACK)
        return begun.cookie.reveal(), dict(parse_qsl(urlsplit(back).query))

    async def finish(self, cookie: str, query: dict[str, str], salt: bytes = SALT) -> tuple[Identity, str | None]:
        return await self.provider.finish(salt, cookie, query)

    async def all(self) -> Identity:
        return (await self.finish(*await self.begin()))[0]


@pytest.fixture(scope="module")
def running() -> Iterator[Idp]:
    with running_idp() as idp:
        yield idp


@pytest.fixture
def idp(running: Idp) -> Idp:
    """As it was at the beginning."""
    fresh = Idp(issuer=running.issuer)
    for name, value in vars(fresh).items():
        setattr(running, name, value)
    return running


def run(idp: Idp, scenario: Callable[[Trial], Any]) -> None:
    async def main() -> None:
        outbound, clock = Outbound(), Clock()
        settings = OidcSettings(idp.issuer, CLIENT_ID, Secret(CLIENT_SECRET), "Example")
        try:
            await scenario(Trial(idp, IdentityProvider(settings, outbound, clock), clock))
        finally:
            await outbound.close()

    asyncio.run(main())


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY], ids=["RS256", "ES256"])
def test_whoever_signs_in_there_is_known_here(idp: Idp, key: Any) -> None:
    async def scenario(trial: Trial) -> None:
        idp.key = key
        idp.person = {"sub": "ada-1", "email": "ada@example.org", "email_verified": True, "name": "Ada"}
        cookie, query = await trial.begin("an-invitation")
        assert await trial.finish(cookie, query) == (
            Identity(idp.issuer, "ada-1", "ada@example.org", "Ada"), "an-invitation",
        )  # fmt: skip
        again = len(idp.asked)
        assert await trial.all() == Identity(idp.issuer, "ada-1", "ada@example.org", "Ada")
        assert idp.asked[again:] == ["/authorize", "/token"]  # the rest is remembered

    run(idp, scenario)


@pytest.mark.parametrize("verified", [False, None, "true", 1, "absent"])
def test_an_address_that_was_not_verified_is_none(idp: Idp, verified: Any) -> None:
    async def scenario(trial: Trial) -> None:
        idp.person = {"sub": "ada-1", "email": "ada@example.org", "email_verified": verified}
        if verified == "absent":
            del idp.person["email_verified"]
        assert await trial.all() == Identity(idp.issuer, "ada-1", None, "ada-1")

    run(idp, scenario)


def unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "", "none")


def stripped(claims: dict[str, Any]) -> str:
    """`alg: none` by hand, over the name of a real key."""
    parts = ({"alg": "none", "kid": "first", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def by_the_public_key(claims: dict[str, Any]) -> str:
    """HS256 with what everybody knows for a secret."""
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = ({"alg": "HS256", "kid": "first"}, claims)
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    mark = hmac.digest(public, text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def by_another_key(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, OTHER_RSA_KEY, "RS256", {"kid": "first"})


def by_an_unknown_key(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, OTHER_RSA_KEY, "RS256", {"kid": "second"})


def by_a_shared_secret(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "secret", "HS256", {"kid": "shared"})


def by_its_own_key(claims: dict[str, Any]) -> str:
    """The key comes along in the token's header."""
    own = json.loads(RSAAlgorithm.to_jwk(OTHER_RSA_KEY.public_key()))
    return jwt.encode(claims, OTHER_RSA_KEY, "RS256", {"kid": "first", "jwk": own})


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    "forge",
    [unsigned, stripped, by_the_public_key, by_another_key, by_an_unknown_key, by_a_shared_secret, by_its_own_key],
)
def test_a_token_that_is_not_the_providers_is_refused(idp: Idp, forge: Callable[[dict[str, Any]], str]) -> None:
    async def scenario(trial: Trial) -> None:
        idp.forge = forge
        with pytest.raises(OidcError) as refusal:
            await trial.all()
        assert refusal.value.reason == "invalid"

    run(idp, scenario)


WRONG: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "another"},
    "several audiences": {"aud": [CLIENT_ID, "another"]},
    "another party": {"azp": "another"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://evil.example"},
    "expired": {"exp": 1_000_000_000},
    "no end": {"exp": None},
    "of tomorrow": {"iat": 4_000_000_000},
    "nobody": {"sub": None},
    "an empty name": {"sub": ""},
    "a number": {"sub": 7},
    "a long name": {"sub": "x" * 256},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
def test_a_token_that_says_something_wrong_is_refused(idp: Idp, claims: dict[str, Any]) -> None:
    async def scenario(trial: Trial) -> None:
        def forge(right: dict[str, Any]) -> str:
            return idp.sign({name: value for name, value in {**right, **claims}.items() if value is not None})

        idp.forge = forge
        with pytest.raises(OidcError) as refusal:
            await trial.all()
        assert refusal.value.reason == "invalid"
        idp.forge = None
        await trial.all()

    run(idp, scenario)


def test_a_sign_in_comes_back_once_and_in_time_to_the_browser_that_began_it(idp: Idp) -> None:
    async def scenario(trial: Trial) -> None:
        async def refused(reason: str, cookie: str, query: dict[str, str], salt: bytes = SALT) -> None:
            with pytest.raises(OidcError) as refusal:
                await trial.finish(cookie, query, salt)
            assert refusal.value.reason == reason

        cookie, query = await trial.begin()
        other_cookie, other_query = await trial.begin()
        await refused("invalid", cookie, other_query)
        await refused("invalid", "", query)
        await refused("invalid", cookie, {**query, "state": ""})
        await refused("invalid", cookie, {"code": query["code"]})
        await refused("invalid", cookie, query, b"other salt")
        payload, _, mark = cookie.rpartition(".")
        state = json.loads(base64.urlsafe_b64decode(payload + "=="))
        forged = base64.urlsafe_b64encode(json.dumps({**state, "until": 1e12}).encode()).decode()
        await refused("invalid", f"{forged}.{mark}", query)
        await refused("invalid", other_cookie, {**other_query, "code": query["code"]})  # another's code: PKCE and nonce
        await trial.finish(cookie, query)
        await refused("expired", cookie, query)
        late_cookie, late_query = await trial.begin()
        trial.clock.passed += LASTS
        await refused("expired", late_cookie, late_query)

    run(idp, scenario)


def test_what_the_provider_refuses_is_told(idp: Idp) -> None:
    async def scenario(trial: Trial) -> None:
        for change, reason in (({"error": "access_denied"}, "cancelled"), ({"iss": "https://evil.example"}, "invalid")):
            cookie, query = await trial.begin()
            with pytest.raises(OidcError) as refusal:
                await trial.finish(cookie, {**query, **change})
            assert refusal.value.reason == reason

    run(idp, scenario)


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_provider_that_describes_itself_wrongly_is_not_used(idp: Idp, described: dict[str, Any]) -> None:
    async def scenario(trial: Trial) -> None:
        idp.described = described
        with pytest.raises(OidcError) as refusal:
            await trial.begin()
        assert refusal.value.reason == "unreachable"

    run(idp, scenario)


def test_a_provider_that_is_away_is_told() -> None:
    async def scenario(trial: Trial) -> None:
        with pytest.raises(OidcError) as refusal:
            await trial.begin()
        assert refusal.value.reason == "unreachable"

    run(Idp(issuer="http://127.0.0.1:1"), scenario)


def test_new_keys_are_found(idp: Idp) -> None:
    async def scenario(trial: Trial) -> None:
        await trial.all()
        idp.key, idp.key_id = OTHER_RSA_KEY, "second"
        with pytest.raises(OidcError):  # they were read just now, and nobody can make us read them in a row
            await trial.all()
        trial.clock.passed += 60
        await trial.all()
        assert idp.asked.count("/keys") == 2

    run(idp, scenario)


# ── the settings ────────────────────────────────────────────────────────────────────────────────────────────────────

ENVIRONMENT = {
    "TRAMONTANE_OIDC_ISSUER": "https://login.example.org",
    "TRAMONTANE_OIDC_CLIENT_ID": CLIENT_ID,
    "TRAMONTANE_OIDC_CLIENT_SECRET": CLIENT_SECRET,
}


def test_settings_are_whole_or_refused_and_the_secret_is_taken_out() -> None:
    assert OidcSettings.read({}) is None
    environment = dict(ENVIRONMENT)
    settings = OidcSettings.read(environment)
    assert settings is not None
    assert (settings.name, settings.client_secret.reveal()) == ("login.example.org", CLIENT_SECRET)
    assert CLIENT_SECRET not in repr(settings) + repr(environment)
    named = OidcSettings.read({**ENVIRONMENT, "TRAMONTANE_OIDC_NAME": "Our login"})
    assert named is not None
    assert named.name == "Our login"
    for name in ENVIRONMENT:
        with pytest.raises(AccountError, match=f"needs {name} too"):
            OidcSettings.read({other: value for other, value in ENVIRONMENT.items() if other != name})
    for bad in ("login.example.org", "ftp://login.example.org", "https://"):
        with pytest.raises(AccountError, match="TRAMONTANE_OIDC_ISSUER is no address"):
            OidcSettings.read({**ENVIRONMENT, "TRAMONTANE_OIDC_ISSUER": bad})
    assert "TRAMONTANE_OIDC_ISSUER" not in os.environ  # else tests would be about somebody's own


# ── whose account it is ─────────────────────────────────────────────────────────────────────────────────────────────

ISSUER, EMAIL = "https://login.example.org", "ada@example.org"


async def sign_in(db: Database, subject: str, email: str | None = None, invitation: str | None = None) -> SignedIn:
    async with db.write() as session:
        return await sign_in_by_identity(session, Identity(ISSUER, subject, email, "Ada"), invitation, "")


async def refused(db: Database, reason: str, *identity: Any) -> None:
    with pytest.raises(OidcError) as refusal:
        await sign_in(db, *identity)
    assert refusal.value.reason == reason


async def roles(db: Database, user_id: str) -> dict[str, str]:
    async with db.read() as session:
        found = (await session.scalars(select(Membership).where(Membership.user_id == user_id))).all()
    return {each.organisation_id: each.role for each in found}


def test_who_is_unknown_and_not_invited_is_refused(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, "wind.example", "owner")
        async with db.write() as session:
            _, token = await invite(session, made.id, made.users["owner"], "admin", "somebody@example.org")
        await refused(db, "unknown", "ada-1", None)
        await refused(db, "unknown", "ada-1", EMAIL)
        await refused(db, "invitation", "ada-1", EMAIL, token.reveal())  # it is another's
        await refused(db, "invitation", "ada-1", EMAIL, "no-such-token")
        async with db.read() as session:
            assert await session.scalar(select(User.id).where(User.oidc_subject.is_not(None))) is None

    place.run(scenario)


def test_an_invitation_lets_in_by_the_verified_address_or_by_its_link(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, "wind.example", "owner")
        async with db.write() as session:
            await invite(session, made.id, made.users["owner"], "developer", EMAIL)
            _, link = await invite(session, made.id, made.users["owner"], "billing", None)
        ada = await sign_in(db, "ada-1", EMAIL)
        assert await roles(db, ada.opened.user_id) == {made.id: "developer"}
        again = await sign_in(db, "ada-1", "new-name@example.org")  # the subject is who it is, not the address
        assert again.opened.user_id == ada.opened.user_id
        ben = await sign_in(db, "ben-1", None, link.reveal())
        assert await roles(db, ben.opened.user_id) == {made.id: "billing"}
        await refused(db, "invitation", "cy-1", None, link.reveal())
        assert not ada.registered
        assert not ben.registered

    place.run(scenario)


def test_who_has_an_account_is_moved_only_by_a_link(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made, other = [await organisation_of(db, name, "owner") for name in ("wind.example", "other.example")]
        async with db.write() as session:
            await invite(session, made.id, made.users["owner"], "developer", EMAIL)
        ada = await sign_in(db, "ada-1", EMAIL)
        async with db.write() as session:
            _, link = await invite(session, other.id, other.users["owner"], "developer", EMAIL)
        assert (await sign_in(db, "ada-1", EMAIL)).opened.organisation_id == made.id
        assert await roles(db, ada.opened.user_id) == {made.id: "developer"}
        moved = await sign_in(db, "ada-1", EMAIL, link.reveal())
        assert moved.opened.organisation_id == other.id
        assert set(await roles(db, ada.opened.user_id)) == {made.id, other.id}

    place.run(scenario)


def test_an_address_alone_opens_no_account_that_has_another_way_in(place: Place) -> None:
    """Whoever chose the password may never have had the address."""

    async def scenario(db: Database) -> None:
        made = await organisation_of(db, "wind.example", "owner", "admin")
        async with db.write() as session:
            await session.execute(update(User).where(User.id == made.users["owner"]).values(password_hash="x"))
            await session.execute(
                update(User).where(User.id == made.users["admin"]).values(oidc_issuer=ISSUER, oidc_subject="somebody")
            )
            _, link = await invite(session, made.id, made.users["owner"], "owner", None)
        for email in ("owner@wind.example", "Admin@wind.example"):
            await refused(db, "address_taken", "ada-1", email)
            await refused(db, "address_taken", "ada-1", email, link.reveal())

    place.run(scenario)


def test_the_first_owner_is_linked_by_the_address_that_the_owner_has_entered(place: Place) -> None:
    async def scenario(db: Database) -> None:
        await organisation_of(db, "wind.example", "owner")
        async with db.write() as session:
            owner = await first_owner(session)
            await session.execute(update(User).where(User.id == owner.user_id).values(email=EMAIL))
        await refused(db, "unknown", "ada-1", None)
        assert (await sign_in(db, "ada-1", EMAIL)).opened.user_id == owner.user_id
        assert (await sign_in(db, "ada-1", None)).opened.user_id == owner.user_id
        await refused(db, "address_taken", "another", EMAIL)

    place.run(scenario)


def test_anybody_comes_in_where_anybody_may_register(place: Place) -> None:
    async def scenario(db: Database) -> None:
        await organisation_of(db, "wind.example", "owner")
        async with db.write() as session:
            await change_settings(session, {"self_registration": True})
        ada = await sign_in(db, "ada-1", EMAIL)
        assert ada.registered
        assert await roles(db, ada.opened.user_id) == {ada.opened.organisation_id: "owner"}
        assert not (await sign_in(db, "ada-1", EMAIL)).registered

    place.run(scenario)


def test_whoever_left_every_organisation_is_out(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await organisation_of(db, "wind.example", "owner")
        async with db.write() as session:
            await invite(session, made.id, made.users["owner"], "developer", EMAIL)
        ada = await sign_in(db, "ada-1", EMAIL)
        async with db.write() as session:
            membership = await session.get_one(Membership, (ada.opened.user_id, made.id))
            await session.delete(membership)
        await refused(db, "unknown", "ada-1", EMAIL)

    place.run(scenario)
