"""Accounts as people meet them: invitations, passwords, sessions, keys, workspaces, settings, and what is noted."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.api.live import LiveServer
from tests.api.people import Person, browse, cookie_of, in_database, invite, me, operators_of, people_of
from tests.api.talking import CHAT, Reply, ask, chat
from tests.api.test_authentication import assert_nothing_leaked
from tramontane.accounts.tables import ApiKey
from tramontane.storage.base import new_id, now
from tramontane.storage.database import Database

PASSWORD = "canary password of a person"


@pytest.fixture(scope="module")
def operator(platform_server: LiveServer) -> Person:
    return operators_of(platform_server, "accounts-operator.example", "owner")["owner"]


@pytest.fixture
def people(platform_server: LiveServer) -> dict[str, Person]:
    """An organisation of one's own for each test."""
    return people_of(platform_server, f"{new_id()}.example", "owner", "admin", "developer", "member")


def actions(person: Person, query: str = "") -> list[str]:
    """What stands in the organisation's log, the oldest first."""
    return [entry["action"] for entry in reversed(person.browse(f"/v1/audit?limit=200{query}").json["data"])]


def refused(reply: Reply, status: int, kind: str) -> None:
    assert (reply.status, reply.json["type"]) == (status, kind), reply.text


# ── invitations and passwords ───────────────────────────────────────────────────────────────────────────────────────


def test_somebody_new_joins_by_a_link_and_signs_in_by_password(people: dict[str, Person]) -> None:
    admin, server = people["admin"], people["admin"].server
    email = f"ada@{new_id()}.example"
    path = invite(admin, email=email.upper(), role="developer")
    shown = browse(server, path)
    assert shown.json == {
        "organisation": me(server, admin.cookie)["organisation_name"],
        "invited_by": me(server, admin.cookie)["user_name"],
        "role": "developer",
        "email": email,
        "oidc": "Example login",
    }
    new = {"name": "Ada", "email": email, "password": PASSWORD}
    refused(browse(server, path, {**new, "email": "eve@example.org"}), 403, "other_address")
    short = browse(server, path, {**new, "password": "ninechars"})
    assert (short.status, short.json["param"]) == (400, "password")
    assert browse(server, path, {"name": "Ada", "email": email}).json["param"] == "password"
    cookie = cookie_of(browse(server, path, new))
    ada = me(server, cookie)
    assert (ada["user_name"], ada["email"], ada["role"], ada["has_password"]) == ("Ada", email, "developer", True)
    assert ada["permissions"] == ["infer", "own_keys", "usage"]
    assert ada["organisation_id"] == admin.organisation_id
    for spent in (browse(server, path), browse(server, path, new)):
        refused(spent, 404, "not_found")

    sign_in = {"email": email.title(), "password": PASSWORD}
    again = cookie_of(browse(server, "/v1/sign-in", sign_in))
    assert me(server, again) == ada
    refused(browse(server, "/v1/sign-in", {**sign_in, "password": "wrong"}), 403, "wrong_credentials")
    sessions = browse(server, "/v1/me/sessions", cookie=again).json["data"]
    assert [session["is_current"] for session in sessions] == [True, False]
    gone = browse(server, f"/v1/me/sessions/{sessions[1]['id']}", method="DELETE", cookie=again)
    assert gone.status == 204
    assert browse(server, "/v1/me", cookie=cookie).status == 401
    for theirs in (admin.session_id, new_id()):
        refused(browse(server, f"/v1/me/sessions/{theirs}", method="DELETE", cookie=again), 404, "not_found")
    assert browse(server, "/sign-out", b"", cookie=again).status == 204
    assert browse(server, "/v1/me", cookie=again).status == 401
    noted = ["invitation.create", "member.join", "session.open", "session.open", "session.end", "session.end"]
    assert actions(admin)[-6:] == noted


def test_whoever_is_signed_in_joins_another_organisation_and_goes_to_and_fro(
    platform_server: LiveServer, people: dict[str, Person]
) -> None:
    other = people_of(platform_server, f"{new_id()}.example", "owner")["owner"]
    person = people["developer"]
    path = invite(other, role="billing")
    cross = person.browse(path, {}, sec_fetch_site="cross-site")
    refused(cross, 403, "forbidden")
    assert person.browse(path, {}).status == 204
    there = me(platform_server, person.cookie)
    assert (there["organisation_id"], there["role"]) == (other.organisation_id, "billing")
    assert {each["id"] for each in there["workspaces"]} == {person.workspace_id, other.workspace_id}
    assert person.browse("/v1/me/workspace", {"workspace_id": person.workspace_id}, method="PUT").status == 204
    back = me(platform_server, person.cookie)
    assert (back["organisation_id"], back["role"]) == (person.organisation_id, "developer")
    refused(person.browse("/v1/me/workspace", {"workspace_id": new_id()}, method="PUT"), 404, "not_found")
    refused(person.browse(invite(other, role="member"), {}), 409, "conflict")  # a member already
    bound = invite(other, role="member", email="somebody@example.org")
    refused(people["member"].browse(bound, {}), 403, "other_address")
    # A key is somebody's program: it stays where it is.
    refused(person.ask("/v1/me/workspace", {"workspace_id": other.workspace_id}, method="PUT"), 403, "forbidden")
    # With the address of somebody else nobody becomes that person.
    taken = browse(platform_server, invite(other), {"name": "Eve", "email": back["email"], "password": PASSWORD})
    refused(taken, 409, "conflict")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sign-in", {"email": "owner@example.org", "password": PASSWORD}),
        ("/v1/register", {"name": "Eve", "email": "eve@example.org", "password": PASSWORD}),
        ("/v1/join/x", {"name": "Eve", "email": "eve@example.org", "password": PASSWORD}),
    ],
)
def test_another_site_signs_nobody_in(platform_server: LiveServer, path: str, body: Any) -> None:
    for headers in ({"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"sec_fetch_site": "none"}):
        reply = browse(platform_server, path, body, **headers)
        refused(reply, 403, "forbidden")
        assert "set-cookie" not in reply.headers
    as_text = browse(platform_server, path, json.dumps(body).encode(), content_type="text/plain")
    assert as_text.status == 422
    assert PASSWORD not in as_text.text


@pytest.mark.parametrize("path", ["/v1/sign-in", "/v1/register", "/v1/join/x"])
def test_of_strangers_little_is_read(platform_server: LiveServer, path: str) -> None:
    reply = browse(platform_server, path, b'"' + b"x" * 2**16)
    assert (reply.status, "64 KiB" in reply.text) == (413, True)


def test_a_password_is_changed_in_the_browser_and_ends_other_sessions(people: dict[str, Person]) -> None:
    person, server = people["owner"], people["owner"].server
    refused(person.ask("/v1/me/password", {"new": PASSWORD}, method="PUT"), 403, "forbidden")
    assert person.browse("/v1/me/password", {"new": PASSWORD}, method="PUT").status == 204
    email = me(server, person.cookie)["email"]
    other = cookie_of(browse(server, "/v1/sign-in", {"email": email, "password": PASSWORD}))
    wrong = {"current": "wrong", "new": "another password"}
    refused(person.browse("/v1/me/password", wrong, method="PUT"), 403, "wrong_credentials")
    right = {"current": PASSWORD, "new": "another password"}
    assert person.browse("/v1/me/password", right, method="PUT").status == 204
    assert browse(server, "/v1/me", cookie=other).status == 401
    assert person.browse("/v1/me").status == 200


def test_oneself_is_changed_by_a_browser_and_the_name_by_a_key_too(people: dict[str, Person]) -> None:
    person, email = people["member"], f"new@{new_id()}.example"
    assert person.ask("/v1/me", {"name": "By a key"}, method="PATCH").json["user_name"] == "By a key"
    refused(person.ask("/v1/me", {"email": email}, method="PATCH"), 403, "forbidden")
    assert person.browse("/v1/me", {"email": email}, method="PATCH").json["email"] == email
    refused(people["admin"].browse("/v1/me", {"email": email.upper()}, method="PATCH"), 409, "conflict")


def test_tries_run_out(platform_server: LiveServer) -> None:
    """As they come from outside: the eleventh of one account within a moment."""
    body = {"email": f"nobody@{new_id()}.example", "password": "wrong"}
    replies = [browse(platform_server, "/v1/sign-in", body) for _ in range(11)]
    assert [reply.status for reply in replies] == [403] * 10 + [429]
    assert 0 < int(replies[-1].headers["retry-after"]) <= 30


# ── registration ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_anybody_registers_where_the_operator_allows_it(platform_server: LiveServer, operator: Person) -> None:
    new = {"name": "Ada", "email": f"ada@{new_id()}.example", "password": PASSWORD}
    assert browse(platform_server, "/v1/sign-in/options").json == {
        "password": True, "oidc": "Example login", "registration": False,
    }  # fmt: skip
    refused(browse(platform_server, "/v1/register", new), 403, "registration_closed")
    wished = {"self_registration": True, "free_monthly_nano_euros": 2 * 10**9}
    settings = operator.browse("/v1/settings", wished, method="PATCH").json
    assert wished.items() <= settings.items() == operator.browse("/v1/settings").json.items()
    try:
        assert browse(platform_server, "/v1/sign-in/options").json["registration"] is True
        cookie = cookie_of(browse(platform_server, "/v1/register", new))
        refused(browse(platform_server, "/v1/register", new), 409, "conflict")
    finally:
        closed = {"self_registration": False, "free_monthly_nano_euros": 0}
        assert operator.browse("/v1/settings", closed, method="PATCH").status == 200
    ada = me(platform_server, cookie)
    assert (ada["role"], ada["is_operator"], ada["organisation_name"]) == ("owner", False, "Ada")
    assert "operate" not in ada["permissions"]
    (lot,) = browse(platform_server, "/v1/billing/lots", cookie=cookie).json["data"]
    assert (lot["kind"], lot["balance"]) == ("free", 2 * 10**9)
    refused(browse(platform_server, "/v1/settings", cookie=cookie), 403, "forbidden")


def test_the_operator_makes_a_customer_whose_owner_comes_by_link(platform_server: LiveServer, operator: Person) -> None:
    made = operator.browse("/v1/organisations", {"name": "Customer"}).json
    assert made["is_operator"] is False
    assert made["id"] in [each["id"] for each in operator.browse("/v1/organisations").json["data"]]
    path = "/v1" + made["invitation_link"].removeprefix(platform_server.url)
    new = {"name": "Ada", "email": f"ada@{new_id()}.example", "password": PASSWORD}
    owner = me(platform_server, cookie_of(browse(platform_server, path, new)))
    assert (owner["organisation_id"], owner["role"]) == (made["id"], "owner")


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def create_key(person: Person, **body: Any) -> dict[str, Any]:
    reply = person.browse("/v1/keys", {"name": "a key", **body})
    assert reply.status == 200, reply.text
    return reply.json  # type: ignore[no-any-return]


def works(server: LiveServer, key: str) -> bool:
    reply = ask(server, "/v1/models", key=key)
    assert reply.status in (200, 401)
    return reply.status == 200


def test_a_key_is_shown_once_and_works_until_it_is_revoked(people: dict[str, Person]) -> None:
    person, server = people["developer"], people["developer"].server
    made = create_key(person)
    assert re.fullmatch(r"tram_[A-Za-z0-9]{32}", made["key"])
    assert made["prefix"] == made["key"][:9]
    assert (made["scopes"], made["models"], made["state"]) == (["inference"], None, "active")
    shown = next(each for each in person.browse("/v1/keys").json["data"] if each["id"] == made["id"])
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert ask(server, CHAT, chat(), key=made["key"]).status == 200
    assert person.browse(f"/v1/keys/{made['id']}", method="DELETE").status == 204
    assert not works(server, made["key"])  # at once
    assert person.browse(f"/v1/keys/{made['id']}", method="DELETE").status == 204
    refused(person.browse(f"/v1/keys/{made['id']}", {"name": "again"}, method="PATCH"), 409, "conflict")
    refused(person.browse(f"/v1/keys/{made['id']}/rotate", {}), 409, "conflict")
    assert actions(people["owner"], "&action=key") == ["key.create", "key.revoke"]


def test_a_key_that_is_rotated_works_beside_its_successor_for_a_while(people: dict[str, Person]) -> None:
    person, server = people["developer"], people["developer"].server
    expires_at = now() + timedelta(days=30)
    old = create_key(person, models=["small"], scopes=["inference", "read"], expires_at=expires_at.isoformat())
    new = person.browse(f"/v1/keys/{old['id']}/rotate", {"overlap_hours": 24}).json
    assert (new["rotated_from"], new["models"], new["scopes"]) == (old["id"], ["small"], ["inference", "read"])
    assert works(server, old["key"])
    assert works(server, new["key"])
    listed = {each["id"]: each for each in person.browse("/v1/keys").json["data"]}
    assert listed[old["id"]]["state"] == "expiring"
    assert listed[old["id"]]["expires_at"] < (now() + timedelta(hours=25)).isoformat()
    assert new["expires_at"] > (now() + timedelta(days=29)).isoformat()  # as long as the old one was to live
    refused(person.browse(f"/v1/keys/{old['id']}/rotate", {}), 409, "conflict")
    last = person.browse(f"/v1/keys/{new['id']}/rotate", {"overlap_hours": 0}).json
    assert [works(server, each["key"]) for each in (old, new, last)] == [True, False, True]
    short = create_key(person, expires_at=(now() + timedelta(hours=1)).isoformat())
    person.browse(f"/v1/keys/{short['id']}/rotate", {"overlap_hours": 24})
    listed = {each["id"]: each for each in person.browse("/v1/keys").json["data"]}
    assert listed[short["id"]]["expires_at"] == short["expires_at"]  # never longer than it would have


def test_a_key_that_ends_makes_none_that_outlives_it(people: dict[str, Person]) -> None:
    person, end = people["developer"], now() + timedelta(days=1)
    made = person.browse("/v1/keys", {"name": "short", "scopes": ["manage"], "expires_at": end.isoformat()}).json

    def by_key(path: str, body: Any, method: str = "POST") -> Reply:
        return ask(person.server, path, body, method=method, key=made["key"])

    refused(by_key(f"/v1/keys/{made['id']}", {"expires_at": None}, "PATCH"), 403, "forbidden")
    refused(by_key("/v1/keys", {"name": "for ever"}), 403, "forbidden")
    assert by_key("/v1/keys", {"name": "as long", "expires_at": end.isoformat()}).status == 200


def test_a_key_expires(people: dict[str, Person]) -> None:
    person, server = people["developer"], people["developer"].server
    made = create_key(person, expires_at=(now() + timedelta(hours=1)).isoformat())

    async def let_time_pass(db: Database) -> None:
        async with db.write() as session:
            await session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(expires_at=now()))

    in_database(server, let_time_pass)
    assert not works(server, made["key"])
    state = next(each["state"] for each in person.browse("/v1/keys").json["data"] if each["id"] == made["id"])
    assert state == "expired"
    later = (now() + timedelta(days=2)).isoformat()
    assert person.browse(f"/v1/keys/{made['id']}", {"expires_at": later}, method="PATCH").json["state"] == "expiring"
    assert works(server, made["key"])
    assert person.browse(f"/v1/keys/{made['id']}", {"expires_at": None}, method="PATCH").json["state"] == "active"


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("expires_at", "2020-01-01T00:00:00Z", 400),
        ("expires_at", "9999-12-31T23:59:59-23:59", 400),
        ("expires_at", "0001-01-01T00:00:00+23:59", 400),
        ("expires_at", "2030-01-01T00:00:00", 422),  # of which zone?
        ("scopes", ["everything"], 422),
        ("scopes", [], 422),
        ("models", [], 422),
        ("name", "", 422),
    ],
)
def test_a_key_that_cannot_be_is_refused(people: dict[str, Person], field: str, value: Any, status: int) -> None:
    reply = people["developer"].browse("/v1/keys", {"name": "a key", field: value})
    assert reply.status == status
    if status == 400:
        assert reply.json["param"] == field


def test_developers_see_their_own_keys_and_admins_all(people: dict[str, Person]) -> None:
    theirs = create_key(people["admin"])
    own = create_key(people["developer"])

    def listed(role: str) -> set[str]:
        return {each["id"] for each in people[role].browse("/v1/keys").json["data"]}

    assert own["id"] in listed("developer")
    assert theirs["id"] not in listed("developer")
    assert {own["id"], theirs["id"]} <= listed("admin")
    for method, path, body in (("PATCH", "", {"name": "x"}), ("POST", "/rotate", {}), ("DELETE", "", None)):
        there = people["developer"].browse(f"/v1/keys/{theirs['id']}{path}", body, method=method)
        nowhere = people["developer"].browse(f"/v1/keys/{new_id()}{path}", body, method=method)
        refused(there, 404, "not_found")
        assert there.json["message"] == nowhere.json["message"]
    refused(people["admin"].browse(f"/v1/keys/{own['id']}/rotate", {}), 403, "forbidden")  # in another's name
    assert people["admin"].browse(f"/v1/keys/{own['id']}", method="DELETE").status == 204
    assert not works(people["admin"].server, own["key"])


def test_a_key_for_some_models_makes_no_key_for_more(people: dict[str, Person]) -> None:
    server = people["developer"].server
    made = create_key(people["developer"], models=["small", "large"], scopes=["manage"])

    def attempt(path: str, body: Any, method: str = "POST") -> Reply:
        return ask(server, path, body, method=method, key=made["key"])

    for models in (None, ["small", "other"]):
        refused(attempt("/v1/keys", {"name": "more", "models": models}), 403, "forbidden")
        refused(attempt(f"/v1/keys/{made['id']}", {"models": models}, "PATCH"), 403, "forbidden")
    assert attempt("/v1/keys", {"name": "fewer", "models": ["small"]}).status == 200
    assert attempt(f"/v1/keys/{made['id']}", {"models": ["small"]}, "PATCH").status == 200
    refused(attempt("/v1/keys", {"name": "as before", "models": ["large"]}), 403, "forbidden")  # at once


# ── members and workspaces ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_changed_of_a_member_holds_at_once(people: dict[str, Person]) -> None:
    admin, developer = people["admin"], people["developer"]
    assert developer.ask("/v1/keys").status == 200
    changed = admin.browse(f"/v1/members/{developer.user_id}", {"role": "member"}, method="PATCH").json
    assert changed["role"] == "member"
    refused(developer.ask("/v1/keys"), 403, "forbidden")
    refused(admin.browse(f"/v1/members/{people['owner'].user_id}", method="DELETE"), 403, "forbidden")
    refused(admin.browse("/v1/invitations", {"role": "owner"}), 403, "forbidden")
    refused(people["owner"].browse(f"/v1/members/{people['owner'].user_id}", method="DELETE"), 409, "conflict")
    assert admin.browse(f"/v1/members/{developer.user_id}", method="DELETE").status == 204
    assert developer.ask("/v1/models").status == developer.browse("/v1/me").status == 401
    assert developer.user_id not in [each["user_id"] for each in admin.browse("/v1/members").json["data"]]


def test_an_archived_workspace_lets_nobody_in_until_it_is_restored(people: dict[str, Person]) -> None:
    owner, member = people["owner"], people["member"]
    workspace = owner.browse("/v1/workspaces", {"name": "Another"}).json
    assert (workspace["num_keys"], workspace["archived_at"], workspace["policy"]) == (0, None, None)
    path = f"/v1/workspaces/{workspace['id']}"
    key = create_key(people["developer"], workspace_id=workspace["id"])["key"]
    assert member.browse("/v1/me/workspace", {"workspace_id": workspace["id"]}, method="PUT").status == 204
    assert member.browse("/v1/me").json["workspace_name"] == "Another"
    assert owner.browse(path, {"archived": True}, method="PATCH").json["num_keys"] == 1
    assert not works(owner.server, key)
    assert member.browse("/v1/me").status == 401
    assert workspace["id"] not in [each["id"] for each in owner.browse("/v1/me").json["workspaces"]]
    refused(owner.browse("/v1/me/workspace", {"workspace_id": workspace["id"]}, method="PUT"), 404, "not_found")
    refused(owner.browse("/v1/keys", {"name": "late", "workspace_id": workspace["id"]}), 409, "conflict")
    refused(owner.browse(f"/v1/workspaces/{owner.workspace_id}", {"archived": True}, method="PATCH"), 409, "conflict")
    assert owner.browse(path, {"archived": False}, method="PATCH").json["archived_at"] is None
    assert works(owner.server, key)
    assert member.browse("/v1/me").status == 200


def test_the_last_workspace_stays(people: dict[str, Person]) -> None:
    """Also where who archives it is at work in another organisation's."""
    owner = people["owner"]
    spare = owner.browse("/v1/workspaces", {"name": "Spare"}).json["id"]
    assert owner.browse("/v1/me/workspace", {"workspace_id": spare}, method="PUT").status == 204
    first = f"/v1/workspaces/{owner.workspace_id}"
    assert owner.browse(first, {"archived": True}, method="PATCH").status == 200
    refused(owner.browse(f"/v1/workspaces/{spare}", {"archived": True}, method="PATCH"), 409, "conflict")


def test_a_policy_is_checked_kept_and_lifted(people: dict[str, Person]) -> None:
    owner, path = people["owner"], f"/v1/workspaces/{people['owner'].workspace_id}"
    for wrong in ({"regions": ["Europe"]}, {"regions": []}, {"operators": []}):
        reply = owner.browse(path, {"policy": wrong}, method="PATCH")
        assert reply.status == 400
        assert reply.json["param"].startswith("policy.")
    policy = owner.browse(path, {"policy": {"regions": ["EU"]}}, method="PATCH").json["policy"]
    assert policy == {"regions": ["EU"], "operators": None, "order": "price"}
    renamed = owner.browse(path, {"name": "Renamed", "archived": None}, method="PATCH").json
    assert (renamed["name"], renamed["policy"]) == ("Renamed", policy)
    assert owner.browse(path, {"policy": None}, method="PATCH").json["policy"] is None


# ── settings and the log ────────────────────────────────────────────────────────────────────────────────────────────


def test_where_this_machine_stands_is_set_and_holds_at_once(platform_server: LiveServer, operator: Person) -> None:
    set_ = operator.browse("/v1/settings", {"region": "FR", "operator": "Wind & Co"}, method="PATCH").json
    try:
        assert (set_["region"], set_["operator"]) == ("FR", "Wind & Co")
        local = next(each for each in operator.browse("/v1/offerings").json["data"] if each["kind"] == "local")
        assert (local["region"], local["operator"]) == ("FR", "Wind & Co")
        for wrong in ("fr", "Europe", "XX", "EEA"):
            reply = operator.browse("/v1/settings", {"region": wrong}, method="PATCH")
            assert (reply.status, reply.json["param"]) == (400, "region")
    finally:
        undone = operator.browse("/v1/settings", {"region": None, "operator": "My organisation"}, method="PATCH")
    assert undone.json["region"] is None


def test_the_log_can_be_read_verified_and_taken_away(people: dict[str, Person]) -> None:
    owner = people["owner"]
    for number in range(5):
        owner.browse("/v1/organisation", {"name": f"Wind {number}"}, method="PATCH")
    page = owner.browse("/v1/audit?limit=2").json
    newest = page["data"][0]
    assert (newest["action"], newest["detail"]) == ("organisation.rename", {"before": "Wind 3", "name": "Wind 4"})
    assert (newest["actor_id"], newest["credential"], newest["address"]) == (owner.user_id, "browser", "127.0.0.1")
    rest = owner.browse(f"/v1/audit?limit=200&before={page['next']}").json
    assert rest["next"] is None
    numbers = [entry["number"] for entry in page["data"] + rest["data"]]
    assert numbers == list(range(len(numbers), 0, -1))
    assert owner.browse("/v1/audit/verification").json == {
        "entries": len(numbers), "is_whole": True, "first_broken": None,
    }  # fmt: skip
    export = owner.browse("/v1/audit/export")
    assert export.headers["content-type"] == "application/jsonl"
    assert "attachment" in export.headers["content-disposition"]
    *lines, end = export.body.splitlines()
    assert len(lines) == len(numbers)
    assert json.loads(end)["hash"] == newest["hash"] == hashlib.sha256(lines[-1]).hexdigest()
    made = create_key(people["admin"], scopes=["manage"])
    ask(owner.server, "/v1/organisation", {"name": "By a key"}, method="PATCH", key=made["key"])
    noted = owner.browse("/v1/audit?limit=1").json["data"][0]["credential"]
    assert noted == f"key {made['id']}: a key"
    for wrong in ("?before=0", "?before=x", "?limit=0", "?limit=201"):
        assert owner.browse(f"/v1/audit{wrong}").status == 422
    assert owner.browse("/v1/audit?actor=%00&action=%F0%9F").json["data"] == []


# ── the canary ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_secret_is_seen_where_it_was_not_asked_for(
    platform_server: LiveServer, operator: Person, people: dict[str, Person]
) -> None:
    """Not in the log, the metrics, the audit rows or the files of the database."""
    server, email = platform_server, f"ada@{new_id()}.example"
    provider_key = "canary-key-of-a-provider-0123456789"
    provider = {"name": new_id(), "base_url": "http://127.0.0.1:1/v1", "operator": "x", "key": provider_key}
    assert operator.browse("/v1/providers", provider).status == 200
    path = invite(people["owner"], role="developer")
    token = path.removeprefix("/v1/join/")
    cookie = cookie_of(browse(server, path, {"name": "Ada", "email": email, "password": PASSWORD}))
    key = browse(server, "/v1/keys", {"name": "canary"}, cookie=cookie).json
    rotated = browse(server, f"/v1/keys/{key['id']}/rotate", {}, cookie=cookie).json
    wrong = "canary password that is wrong"
    replies = [
        browse(server, path, {"name": "Eve", "email": "eve@example.org", "password": wrong}),
        browse(server, "/v1/sign-in", {"email": email, "password": wrong}),
        browse(server, "/v1/sign-in", {"email": [], "password": {"a": wrong}}),
        browse(server, "/v1/me/password", {"current": wrong, "new": wrong}, method="PUT", cookie=cookie),
        browse(server, f"/v1/join/{token}x"),
        browse(server, f"/sign-in?token={token}"),
        ask(server, "/v1/models", key=key["key"] + "x"),
        ask(server, "/v1/members", key=rotated["key"]),
        people["owner"].browse("/v1/audit?limit=200"),
        people["owner"].browse("/v1/audit/export"),
        operator.browse("/v1/providers"),
    ]
    secrets = (PASSWORD, wrong, token, cookie, key["key"], rotated["key"], provider_key, operator.cookie, operator.key)
    for reply in replies:
        for secret in secrets:
            assert secret not in reply.text.replace(f"/v1/join/{token}", "")
    assert_nothing_leaked(server, secrets)
