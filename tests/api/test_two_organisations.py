"""Nothing of one organisation is visible to another, whatever the role there: not by its id, and in no list.

Every route that takes an id of something that an organisation owns stands in `ORGANISATION`, and of what only the
operator manages in `OPERATOR`; a new one that does not fails a test in `test_two_users`.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.live import LiveServer
from tests.api.people import Person, filled, operators_of, people_of
from tests.api.talking import Reply
from tramontane.storage.base import new_id

# What is sent to each: bodies that would succeed for the owner. Names in braces are filled with the owner's ids.
ORGANISATION: dict[tuple[str, str], Any] = {
    ("PATCH", "/v1/workspaces/{workspace_id}"): {"name": "taken"},
    ("PATCH", "/v1/members/{user_id}"): {"role": "member"},
    ("DELETE", "/v1/members/{user_id}"): None,
    ("DELETE", "/v1/invitations/{invitation_id}"): None,
    ("PATCH", "/v1/keys/{key_id}"): {"name": "taken"},
    ("POST", "/v1/keys/{key_id}/rotate"): {},
    ("DELETE", "/v1/keys/{key_id}"): None,
    ("DELETE", "/v1/me/sessions/{session_id}"): None,
    ("PUT", "/v1/limits/{scope}/{scope_id}"): {"requests_per_second": 1},
    ("GET", "/v1/billing/lots/{lot_id}"): None,
    ("DELETE", "/v1/billing/budgets/{budget_id}"): None,
}
# 403 for what is there and for what is not.
OPERATOR: dict[tuple[str, str], Any] = {
    ("POST", "/v1/billing/lots/{lot_id}/cancel"): b"",
    ("PATCH", "/v1/providers/{provider_id}"): {"name": "taken"},
    ("POST", "/v1/providers/{provider_id}/check"): b"",
    ("PATCH", "/v1/offerings/{offering_id}"): {"enabled": False},
    ("GET", "/v1/offerings/{offering_id}/prices"): None,
    ("POST", "/v1/offerings/{offering_id}/prices"): {"input": 1, "output": 1},
    ("DELETE", "/v1/prices/{price_id}"): None,
    ("POST", "/v1/deployments/{deployment_id}/start"): b"",
    ("POST", "/v1/deployments/{deployment_id}/stop"): b"",
    ("DELETE", "/v1/deployments/{deployment_id}"): None,
}
# What a path names that no organisation owns: models, and months of one's own statements.
SHARED = {
    "/v1/catalogue/{name:path}",
    "/v1/catalogue/{name:path}/lifecycle",
    "/v1/catalogue/{name:path}/licence",
    "/v1/billing/statements/{month}",
    "/v1/billing/statements/{month}/csv",
    "/v1/billing/statements/{month}/pdf",
}
# Ids of the owner in bodies and queries, sent by another organisation's owner; what is another's is not there.
NAMED: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/me/workspace", {"workspace_id": "{workspace_id}"}),
    ("POST", "/v1/keys", {"name": "taken", "workspace_id": "{workspace_id}"}),
    ("POST", "/v1/billing/budgets", {"name": "taken", "amount": 1, "workspace_id": "{workspace_id}"}),
    ("PUT", "/v1/billing/pay-as-you-go", {"monthly_cap": None, "organisation_id": "{organisation_id}"}),
]
LISTS = (
    "/v1/workspaces", "/v1/members", "/v1/invitations", "/v1/keys", "/v1/me/sessions", "/v1/audit", "/v1/audit/export",
    "/v1/limits", "/v1/billing/lots", "/v1/billing/transfers", "/v1/billing/budgets", "/v1/billing/statements",
    "/v1/usage", "/v1/usage/requests", "/v1/usage/export", "/v1/me", "/v1/organisation",
)  # fmt: skip
NAME = "A very particular name"


@pytest.fixture(scope="module")
def owner(platform_server: LiveServer) -> Person:
    """Whose things are tried for."""
    return operators_of(platform_server, "two.example", "owner")["owner"]


@pytest.fixture(scope="module")
def neighbour(platform_server: LiveServer) -> Person:
    """An owner too, of another organisation."""
    return people_of(platform_server, "neighbour.example", "owner")["owner"]


@pytest.fixture(scope="module")
def owned(platform_server: LiveServer, owner: Person) -> dict[str, str]:
    """One of everything."""

    def make(path: str, **body: Any) -> str:
        reply = owner.browse(path, body)
        assert reply.status == 200, reply.text
        return str(reply.json["id"])

    workspace_id = make("/v1/workspaces", name=NAME)
    limits = owner.browse(f"/v1/limits/workspace/{workspace_id}", {"tokens_per_month": 12_345_678}, method="PUT")
    assert limits.status == 200, limits.text
    provider_id = make("/v1/providers", name=NAME, base_url="http://127.0.0.1:1/v1", operator=NAME)
    offering_id = make("/v1/offerings", model="a-model-of-theirs", provider_id=provider_id)
    return {
        "organisation_id": owner.organisation_id,
        "workspace_id": workspace_id,
        "scope": "workspace",
        "scope_id": workspace_id,
        "user_id": owner.user_id,
        "session_id": owner.session_id,
        "invitation_id": make("/v1/invitations", email="theirs@two.example", role="member"),
        "key_id": make("/v1/keys", name=NAME, workspace_id=workspace_id),
        "lot_id": make("/v1/billing/lots", kind="credit", name=NAME, amount=1234),
        "budget_id": make("/v1/billing/budgets", name=NAME, amount=1234, workspace_id=workspace_id),
        "provider_id": provider_id,
        "offering_id": offering_id,
        "price_id": make(f"/v1/offerings/{offering_id}/prices", input=2, output=3),
        "deployment_id": new_id(),
    }


def state(owner: Person) -> list[Any]:
    """All that the owner has, as the owner sees it."""
    replies = [owner.browse(path) for path in (*LISTS, "/v1/providers", "/v1/offerings", "/v1/deployments")]
    assert [reply.status for reply in replies] == [200] * len(replies)
    return [
        _still(reply.json) if reply.headers["content-type"] == "application/json" else reply.body for reply in replies
    ]


def _still(shown: Any) -> Any:
    """Without what changes by itself: when something was last used, and how much memory is free."""
    match shown:
        case dict():
            moving = [name for name in shown if name.startswith(("last_", "memory_", "health"))]
            return {name: _still(value) for name, value in shown.items() if name not in moving}
        case list():
            return [_still(one) for one in shown]
    return shown


def is_the_same(one: Reply, other: Reply) -> bool:
    return {**one.json, "correlation_id": ""} == {**other.json, "correlation_id": ""}


@pytest.mark.parametrize(("method", "path"), [*ORGANISATION, *OPERATOR])
def test_what_is_anothers_is_as_if_it_were_not(
    owner: Person, neighbour: Person, owned: dict[str, str], method: str, path: str
) -> None:
    body = {**ORGANISATION, **OPERATOR}[method, path]

    def send(ids: dict[str, str]) -> Reply:
        return neighbour.browse(filled(path, ids), filled(body, owned), method=method)

    before = state(owner)
    theirs, nothing = send(owned), send({**dict.fromkeys(owned, new_id()), "scope": "workspace"})
    expected = (404, "not_found") if (method, path) in ORGANISATION else (403, "forbidden")
    assert (theirs.status, theirs.json["type"]) == expected
    assert is_the_same(theirs, nothing)
    assert state(owner) == before


@pytest.mark.parametrize("scope", ["organisation", "key"])
def test_limits_of_anothers_are_as_if_they_were_not(
    owner: Person, neighbour: Person, owned: dict[str, str], scope: str
) -> None:
    replies = [
        neighbour.browse(f"/v1/limits/{scope}/{scope_id}", {"requests_per_second": 1}, method="PUT")
        for scope_id in (owned[f"{scope}_id"], new_id())
    ]
    assert [reply.status for reply in replies] == [404, 404]
    assert is_the_same(*replies)


@pytest.mark.parametrize(("method", "path", "body"), NAMED, ids=str)
def test_what_is_anothers_cannot_be_named_in_a_body(
    owner: Person, neighbour: Person, owned: dict[str, str], method: str, path: str, body: Any
) -> None:
    before = state(owner)
    theirs = neighbour.browse(path, filled(body, owned), method=method)
    nothing = neighbour.browse(path, filled(body, dict.fromkeys(owned, new_id())), method=method)
    assert (theirs.status, theirs.json["type"]) == (404, "not_found")
    assert is_the_same(theirs, nothing)
    assert state(owner) == before


@pytest.mark.parametrize("path", LISTS)
def test_lists_hold_what_is_ones_own(owner: Person, neighbour: Person, owned: dict[str, str], path: str) -> None:
    """The neighbour is an owner, and sees all that there is to see, of one organisation."""
    marks = [*owned.values(), owner.workspace_id, NAME, "two.example"]
    reply = neighbour.browse(path)
    assert reply.status == 200
    assert not [mark for mark in marks if mark not in ("workspace", "") and mark in reply.text]


@pytest.mark.parametrize(
    "query", ["key_id={key_id}", "workspace_id={workspace_id}", "start=2020-01-01&end=2020-01-31"], ids=str
)
def test_usage_is_filtered_by_what_is_ones_own(neighbour: Person, owned: dict[str, str], query: str) -> None:
    reply = neighbour.browse(f"/v1/usage/requests?{filled(query, owned)}")
    assert reply.status in (200, 404)
    assert reply.status == 404 or reply.json["data"] == []


def test_another_site_changes_nothing_with_a_browsers_cookie(owner: Person, owned: dict[str, str]) -> None:
    before = state(owner)
    for (method, path), body in {**ORGANISATION, **OPERATOR}.items():
        if method == "GET":
            continue
        for headers in ({"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site", "origin": "https://evil"}):
            reply = owner.browse(filled(path, owned), filled(body, owned), method=method, **headers)
            assert (reply.status, reply.json["type"]) == (403, "forbidden"), (method, path)
            assert "another site" in reply.json["message"]
    assert state(owner) == before
