"""Signing in by an identity provider, as a browser does it: there, and back with a session."""

from __future__ import annotations

import http.cookies
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.accounts.identity_provider import CLIENT_SECRET, Idp, follow
from tests.api.live import LiveServer
from tests.api.people import Person, browse, cookie_of, invite, me, people_of
from tests.api.talking import Reply, ask
from tests.api.test_authentication import assert_nothing_leaked
from tramontane.storage.base import new_id

FAILED = "/?sign-in=failed&reason="


@dataclass(frozen=True)
class Trip:
    """A browser that has been at the provider: the cookie that it has, and where it is sent."""

    cookie: str
    back: str

    def arrive(self, server: LiveServer) -> Reply:
        """The browser comes from another site, and by GET."""
        path = self.back.removeprefix(server.url)
        return ask(server, path, key=None, headers={"cookie": self.cookie, "sec-fetch-site": "cross-site"})


def go(server: LiveServer, query: str = "") -> Trip:
    begun = ask(server, f"/sign-in/oidc{query}", key=None)
    assert begun.status == 302
    ((name, cookie),) = http.cookies.SimpleCookie(begun.headers["set-cookie"]).items()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/sign-in/oidc/callback")
    assert 0 < int(cookie["max-age"]) <= 600
    back = follow(begun.headers["location"])
    assert back.startswith(f"{server.url}/sign-in/oidc/callback?")
    return Trip(f"{name}={cookie.value}", back)


def failed(reply: Reply, reason: str) -> None:
    assert (reply.status, reply.headers["location"]) == (302, FAILED + reason)
    ((name, cookie),) = http.cookies.SimpleCookie(reply.headers["set-cookie"]).items()
    assert (name.endswith("_oidc"), cookie["max-age"]) == (True, "0")  # it is ended, and no other is set
    assert len(reply.headers.get_all("set-cookie")) == 1  # type: ignore[attr-defined]


@pytest.fixture
def person(idp: Idp) -> dict[str, Any]:
    """Somebody whom nobody knows yet."""
    idp.forge = None
    idp.person = {"sub": new_id(), "email": f"ada@{new_id()}.example", "email_verified": True, "name": "Ada"}
    return idp.person


@pytest.fixture
def owner(platform_server: LiveServer) -> Person:
    return people_of(platform_server, f"{new_id()}.example", "owner")["owner"]


def test_who_was_invited_signs_in_and_is_known_from_then_on(
    platform_server: LiveServer, person: dict[str, Any], owner: Person
) -> None:
    failed(go(platform_server).arrive(platform_server), "unknown")
    invite(owner, email=person["email"], role="developer")
    trip = go(platform_server)
    arrived = trip.arrive(platform_server)
    assert (arrived.status, arrived.headers["location"]) == (302, "/")
    ada = me(platform_server, cookie_of(arrived))
    assert (ada["user_name"], ada["email"], ada["role"]) == ("Ada", person["email"], "developer")
    assert (ada["organisation_id"], ada["has_password"]) == (owner.organisation_id, False)
    failed(trip.arrive(platform_server), "expired")  # once
    again = go(platform_server).arrive(platform_server)
    assert me(platform_server, cookie_of(again))["user_id"] == ada["user_id"]
    entry = owner.browse("/v1/audit?limit=1").json["data"][0]
    assert (entry["action"], entry["detail"]["by"]) == ("session.open", "identity provider")


def test_a_link_lets_in_whoever_has_it(platform_server: LiveServer, person: dict[str, Any], owner: Person) -> None:
    person.pop("email_verified")
    token = invite(owner, role="member").removeprefix("/v1/join/")
    arrived = go(platform_server, f"?invitation={token}").arrive(platform_server)
    assert me(platform_server, cookie_of(arrived))["email"] is None
    person["sub"] = new_id()
    failed(go(platform_server, f"?invitation={token}").arrive(platform_server), "invitation")


def test_another_site_makes_nobody_join(platform_server: LiveServer, owner: Person) -> None:
    token = invite(owner, role="member").removeprefix("/v1/join/")
    path = f"/sign-in/oidc?invitation={token}"
    sent = ask(platform_server, path, key=None, headers={"sec-fetch-site": "cross-site"})
    assert (sent.status, sent.headers["location"]) == (303, f"/join/{token}")
    assert "set-cookie" not in sent.headers
    odd = ask(
        platform_server,
        "/sign-in/oidc?invitation=..%2F%2Fx.example",
        key=None,
        headers={"sec-fetch-site": "cross-site"},
    )
    assert odd.headers["location"] == "/join/..%2F%2Fx.example"
    assert ask(platform_server, path, key=None, headers={"sec-fetch-site": "same-origin"}).status == 302


def test_what_cannot_be_believed_signs_nobody_in(
    platform_server: LiveServer, idp: Idp, person: dict[str, Any], owner: Person
) -> None:
    invite(owner, email=person["email"], role="owner")
    for wrong in ({"nonce": "another"}, {"aud": "another"}, {"exp": 1_000_000_000}):
        person.update(wrong)
        failed(go(platform_server).arrive(platform_server), "invalid")
        for name in wrong:
            person.pop(name)
    one, other = go(platform_server), go(platform_server)
    failed(Trip(other.cookie, one.back).arrive(platform_server), "invalid")
    failed(Trip("", one.back).arrive(platform_server), "invalid")
    query = parse_qs(urlsplit(one.back).query)
    denied = f"{platform_server.url}/sign-in/oidc/callback?error=access_denied&state={query['state'][0]}"
    failed(Trip(one.cookie, denied).arrive(platform_server), "cancelled")
    assert_nothing_leaked(platform_server, (CLIENT_SECRET, *idp.tokens, query["code"][0], query["state"][0]))


def test_without_a_provider_the_way_there_leads_back(server: LiveServer) -> None:
    reply = ask(server, "/sign-in/oidc", key=None)
    assert (reply.status, reply.headers["location"]) == (302, FAILED + "unknown")
    assert browse(server, "/v1/sign-in/options").json["oidc"] is None
