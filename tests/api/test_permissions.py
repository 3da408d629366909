"""Who may do what: every route with every role, and with every scope of a key.

A new route that stands in no table here fails a test.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.api.live import LiveServer
from tests.api.people import ROLES, Person, filled, names_in, operators_of, people_of
from tests.api.talking import ask
from tests.api.test_authentication import closed_routes
from tramontane.accounts.permissions import permissions_of
from tramontane.storage.base import new_id

# What a route needs (one of several is enough; None: any member), and a body that is right, if it has one.
MANAGEMENT: dict[tuple[str, str], tuple[str | None, Any]] = {
    ("GET", "/v1/me"): (None, None),
    ("PATCH", "/v1/me"): (None, {"name": "Somebody"}),
    ("PUT", "/v1/me/workspace"): (None, {"workspace_id": "{workspace_id}"}),
    ("GET", "/v1/me/sessions"): (None, None),
    ("DELETE", "/v1/me/sessions/{session_id}"): (None, None),
    ("GET", "/v1/organisation"): (None, None),
    ("PATCH", "/v1/organisation"): ("workspaces", {"name": "Wind"}),
    ("GET", "/v1/organisations"): ("sell", None),
    ("POST", "/v1/organisations"): ("operate", {"name": "A customer"}),
    ("GET", "/v1/workspaces"): (None, None),
    ("POST", "/v1/workspaces"): ("workspaces", {"name": "Another"}),
    ("PATCH", "/v1/workspaces/{workspace_id}"): ("workspaces", {"policy": {"regions": ["EU"]}}),
    ("GET", "/v1/members"): ("members", None),
    ("PATCH", "/v1/members/{user_id}"): ("members", {"role": "billing"}),
    ("DELETE", "/v1/members/{user_id}"): ("members", None),
    ("GET", "/v1/invitations"): ("members", None),
    ("POST", "/v1/invitations"): ("members", {"role": "member"}),
    ("DELETE", "/v1/invitations/{invitation_id}"): ("members", None),
    ("GET", "/v1/keys"): ("own_keys", None),
    ("POST", "/v1/keys"): ("own_keys", {"name": "laptop"}),
    ("PATCH", "/v1/keys/{key_id}"): ("own_keys", {"name": "desk"}),
    ("POST", "/v1/keys/{key_id}/rotate"): ("own_keys", {}),
    ("DELETE", "/v1/keys/{key_id}"): ("own_keys", None),
    ("GET", "/v1/audit"): ("audit", None),
    ("GET", "/v1/audit/verification"): ("audit", None),
    ("GET", "/v1/audit/export"): ("audit", None),
    ("GET", "/v1/settings"): ("operate", None),
    ("PATCH", "/v1/settings"): ("operate", {"free_monthly_nano_euros": 0}),
    ("GET", "/v1/catalogue"): (None, None),
    ("GET", "/v1/catalogue/{name:path}"): (None, None),
    ("PUT", "/v1/catalogue/{name:path}/lifecycle"): ("operate", {"stage": "available"}),
    ("POST", "/v1/catalogue/{name:path}/licence"): ("operate", b""),
    ("GET", "/v1/providers"): ("operate", None),
    ("POST", "/v1/providers"): ("operate", {"name": "{new}", "base_url": "http://127.0.0.1:1/v1", "operator": "x"}),
    ("PATCH", "/v1/providers/{provider_id}"): ("operate", {"enabled": True}),
    ("POST", "/v1/providers/{provider_id}/check"): ("operate", b""),
    ("GET", "/v1/offerings"): ("operate", None),
    ("POST", "/v1/offerings"): ("operate", {"model": "small", "provider_id": "{new}"}),
    ("PATCH", "/v1/offerings/{offering_id}"): ("operate", {"enabled": True}),
    ("GET", "/v1/offerings/{offering_id}/prices"): ("operate", None),
    ("POST", "/v1/offerings/{offering_id}/prices"): ("operate", {"input": 1, "output": 1}),
    ("DELETE", "/v1/prices/{price_id}"): ("operate", None),
    ("GET", "/v1/deployments"): ("operate", None),
    ("POST", "/v1/deployments"): ("operate", {"reference": "/nowhere/at/all"}),
    ("POST", "/v1/deployments/{deployment_id}/start"): ("operate", b""),
    ("POST", "/v1/deployments/{deployment_id}/stop"): ("operate", b""),
    ("DELETE", "/v1/deployments/{deployment_id}"): ("operate", None),
    ("DELETE", "/v1/models/{model_id:path}"): ("operate", None),
    ("GET", "/metrics"): ("operate", None),
    ("GET", "/v1/route"): (None, None),
    ("POST", "/v1/route"): (None, {"model": "small"}),
    ("GET", "/v1/usage"): ("usage", None),
    ("GET", "/v1/usage/requests"): ("usage", None),
    ("GET", "/v1/usage/export"): ("usage", None),
    ("GET", "/v1/limits"): ("usage", None),
    ("PUT", "/v1/limits/{scope}/{scope_id}"): ("limits", {"requests_per_second": 1000}),
    ("GET", "/v1/billing"): ("billing", None),
    ("GET", "/v1/billing/lots"): ("billing", None),
    ("POST", "/v1/billing/lots"): ("sell", {"kind": "credit", "name": "Credit", "amount": 10}),
    ("GET", "/v1/billing/lots/{lot_id}"): ("billing", None),
    ("POST", "/v1/billing/lots/{lot_id}/cancel"): ("sell", b""),
    ("PUT", "/v1/billing/pay-as-you-go"): ("spend sell", {"monthly_cap": None}),
    ("GET", "/v1/billing/transfers"): ("billing", None),
    ("GET", "/v1/billing/statements"): ("billing", None),
    ("GET", "/v1/billing/statements/{month}"): ("billing", None),
    ("GET", "/v1/billing/statements/{month}/csv"): ("billing", None),
    ("GET", "/v1/billing/statements/{month}/pdf"): ("billing", None),
    ("GET", "/v1/billing/budgets"): ("billing", None),
    ("POST", "/v1/billing/budgets"): ("spend", {"name": "A month", "amount": 10}),
    ("DELETE", "/v1/billing/budgets/{budget_id}"): ("spend", None),
}
# Any member asks models and keeps conversations, which are the user's own.
OWN = ("/v1/conversations", "/v1/documents", "/v1/presets")
INFERENCE = {
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/fim/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/responses"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_id:path}"),
}
# What every role may, and what the tests about signing in try.
OTHER = {("GET", "/openapi.json"), ("POST", "/sign-out"), ("PUT", "/v1/me/password")}

QUERIES = {"/v1/route": "?model=small"}
# What is right and still comes to nothing here; all other routes whose path names nothing succeed.
FUTILE = {("POST", "/v1/offerings"), ("POST", "/v1/deployments")}


@pytest.fixture(scope="module")
def people(platform_server: LiveServer) -> list[tuple[str, bool, Person]]:
    """One of each role in a customer's organisation, and one in the operator's."""
    customers = people_of(platform_server, "permissions.example", *ROLES)
    operators = operators_of(platform_server, "operators.example", *ROLES)
    return [(role, False, customers[role]) for role in ROLES] + [(role, True, operators[role]) for role in ROLES]


def entries(server: LiveServer, organisation_id: str) -> int:
    """How many entries its audit log has."""
    with closing(sqlite3.connect(server.home / "tramontane.db")) as database:
        found = database.execute("SELECT count(*) FROM audit_entries WHERE organisation_id = ?", (organisation_id,))
        return int(found.fetchone()[0])


def test_every_route_stands_in_a_table() -> None:
    own = {(method, path) for method, path in closed_routes() if path.startswith(OWN)}
    assert set(closed_routes()) - own == {*MANAGEMENT} | INFERENCE | OTHER


@pytest.mark.parametrize(("method", "path"), MANAGEMENT)
def test_a_role_does_what_it_may_and_nothing_else(
    platform_server: LiveServer, people: list[tuple[str, bool, Person]], method: str, path: str
) -> None:
    """Whoever may is not refused, and what then is changed stands in the audit log."""
    needed, body = MANAGEMENT[method, path]
    for role, is_operator, person in people:
        allowed = needed is None or bool({*needed.split()} & permissions_of(role, is_operator))  # type: ignore[arg-type]
        ids = {name: new_id() for name in names_in(path)} | {"scope": "workspace", "new": new_id()}
        address = filled(path.replace(":path", ""), ids) + QUERIES.get(path, "")
        before = entries(platform_server, person.organisation_id)
        reply = person.browse(address, filled(body, {**ids, "workspace_id": person.workspace_id}), method=method)
        who = f"{role}, {'operator' if is_operator else 'customer'}: {reply.text[:300]}"
        if not allowed:
            assert (reply.status, reply.json["type"]) == (403, "forbidden"), who
        elif reply.status >= 300:
            assert reply.status in (400, 404, 409), who
            assert "{" in path or (method, path) in FUTILE, who
        changed = reply.status < 300 and method != "GET" and path != "/v1/route"
        assert (entries(platform_server, person.organisation_id) > before) is changed, who


@pytest.mark.parametrize(
    ("scopes", "reads"), [(["inference"], False), (["read"], True), (["read", "inference"], True)], ids=str
)
def test_a_scope_opens_what_it_names_and_nothing_else(
    platform_server: LiveServer, people: list[tuple[str, bool, Person]], scopes: list[str], reads: bool
) -> None:
    """Also of the most powerful user."""
    person = next(person for role, is_operator, person in people if role == "owner" and is_operator)
    key = person.browse("/v1/keys", {"name": "scoped", "scopes": scopes}).json["key"]
    for method, path in closed_routes():
        ids = {name: new_id() for name in names_in(path)} | {"scope": "workspace"}
        address = filled(path.replace(":path", ""), ids) + QUERIES.get(path, "")
        reply = ask(platform_server, address, None if method == "GET" else b"", method=method, key=key)
        expected = ("inference" in scopes and (method, path) in INFERENCE) or (
            reads and method == "GET" and not path.startswith(OWN)
        )
        assert (reply.status == 403 and reply.json["type"] == "scope") is not expected, (method, path, reply.text[:200])
        if not expected:
            assert "its scopes are" in reply.json["message"]


def test_the_scope_manage_opens_all_that_the_user_may(
    platform_server: LiveServer, people: list[tuple[str, bool, Person]]
) -> None:
    developer = next(person for role, _, person in people if role == "developer")
    for scopes in (["manage"], None):
        key = developer.browse("/v1/keys", {"name": "scoped", "scopes": scopes}).json["key"]
        assert ask(platform_server, "/v1/keys", {"name": "made by a key"}, key=key).status == 200
        assert ask(platform_server, "/v1/conversations", key=key).status == 200
        assert ask(platform_server, "/v1/members", key=key).json["type"] == "forbidden"
