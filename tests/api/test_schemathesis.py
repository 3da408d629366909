"""Whatever the API's own description allows, and much that it does not: no 500, and every answer is as described."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.conversing import begin, upload
from tests.api.live import LiveServer
from tests.api.people import operators_of
from tests.api.talking import PATIENCE, ask, is_well_formed, total, wait_until_nothing_is_held
from tramontane.api.app import create_routes
from tramontane.api.openapi import describe
from tramontane.api.platform import Platform
from tramontane.gateway.metrics import Metrics
from tramontane.storage.base import new_id, now

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# A server that knows none of the models that are asked for would refuse all else by that alone, and what is written
# is not what is tested: most requests name a model that is served, and none asks for a long answer.
MODELS = st.sampled_from(["small", "v13", "v15", "embedder", None])
MESSAGES = st.sampled_from([[{"role": "user", "content": "Which wind blows?"}], None])
SHORT = {"max_tokens": 4, "max_completion_tokens": 4, "max_output_tokens": 16, "n": 2, "min_tokens": 2}

DESCRIPTION = describe(create_routes(Platform(None, None, [], Metrics(), None)).routes)  # type: ignore[arg-type]
# Routes that ask for a browser, and some where what luck may find is found once at most.
OF_BROWSERS = ("/v1/me/", "/v1/sign-in", "/v1/register", "/v1/join")
ONCE = {
    ("PUT", "/v1/me/password"),
    ("POST", "/v1/sign-in"),
    ("POST", "/v1/register"),
    ("GET", "/v1/join/{token}"),
    ("POST", "/v1/join/{token}"),
    # What loads models is for test_deployments.py.
    ("POST", "/v1/deployments"),
    ("POST", "/v1/deployments/{deployment_id}/start"),
    ("POST", "/v1/deployments/{deployment_id}/stop"),
}
# Routes whose bodies are a few fields: what can be wrong with them is found soon.
PLAIN = (
    "/v1/me", "/v1/sign-in", "/v1/register", "/v1/join", "/v1/organisation", "/v1/workspaces", "/v1/members",
    "/v1/invitations", "/v1/keys", "/v1/audit", "/v1/settings",
)  # fmt: skip
# What is made for the routes that name it.
MADE: dict[str, tuple[str, Any]] = {
    "preset_id": ("/v1/presets", {"name": "a preset"}),
    "invitation_id": ("/v1/invitations", {"role": "member"}),
    "key_id": ("/v1/keys", {"name": "a key"}),
    "scope_id": ("/v1/keys", {"name": "a key that may be limited to nothing"}),
    "lot_id": ("/v1/billing/lots", {"kind": "credit", "name": "a nano-euro", "amount": 1}),
}
NOBODY = "http://127.0.0.1:9"  # where no provider listens

OPERATIONS = [(method.upper(), path) for path, methods in DESCRIPTION["paths"].items() for method in methods]


def test_the_server_describes_itself_as_this_test_reads_it(server: LiveServer) -> None:
    assert ask(server, "/openapi.json").json == DESCRIPTION
    assert len(OPERATIONS) >= 12


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_answer_is_as_described(server: LiveServer, operation: tuple[str, str]) -> None:
    few = operation == ("POST", "/v1/documents") or operation[1].startswith(PLAIN)
    exercise(server, operation, max_examples=20 if few else 60)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_answer_is_as_described_over_many_examples(server: LiveServer, operation: tuple[str, str]) -> None:
    exercise(server, operation, max_examples=500)


WHOLE_STREAMS = SchemathesisConfig.from_dict({"max-stream-events": 100_000})  # else it hangs up after some events


def exercise(server: LiveServer, operation: tuple[str, str], max_examples: int) -> None:
    """Asks what the description allows, and as often what it does not."""
    method, path = operation
    ids = own_things(server, path) if method != "DELETE" else {}
    who = browser_of(server) if path.startswith(OF_BROWSERS) else {"Authorization": f"Bearer {server.key}"}
    described = schemathesis.openapi.from_dict(DESCRIPTION, config=WHOLE_STREAMS)[path][method]
    cases = described.as_strategy(GenerationMode.POSITIVE)
    has_body = "requestBody" in DESCRIPTION["paths"][path][method.lower()]
    if has_body:
        cases |= described.as_strategy(GenerationMode.NEGATIVE)
    failed_steps, statuses = total(server, "failed_steps_total"), set[int]()

    @seed(3)
    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, MODELS, MESSAGES)
    def examine(case: Case, model: str | None, messages: list[Any] | None) -> None:
        make_sensible(case, model, messages, ids)
        case.headers.pop("Authorization", None)  # one of its own
        reply = case.call(base_url=server.url, headers=who, timeout=PATIENCE)
        statuses.add(reply.status_code)
        case.validate_response(reply, checks=CHECKS)
        kind = reply.headers.get("content-type", [""])[0]
        if kind == "text/event-stream" and "completions" in path:
            events = [part.removeprefix("data: ") for part in reply.text.split("\n\n") if part]
            assert is_well_formed(events), reply.text[-1000:]
        if kind == "text/event-stream" and path == "/v1/responses":
            assert "event: response.completed" in reply.text or "event: response.incomplete" in reply.text

    examine()
    assert statuses & {200, 204} or method == "DELETE" or operation in ONCE  # nothing is there that could be deleted
    assert not has_body or statuses & {400, 422}
    assert total(server, "failed_steps_total") == failed_steps
    wait_until_nothing_is_held(server)


def own_things(server: LiveServer, path: str) -> dict[str, str]:
    """What belongs to the user of the server's key, by the names of the parameters that name it."""
    ids = {"workspace_id": ask(server, "/v1/me").json["workspace_id"]}
    if path.startswith(("/v1/conversations", "/v1/shared")):
        talk = begin(server, document_ids=[], max_tokens=4)
        answer = talk.answered()
        ids |= {"conversation_id": talk.id, "answer_id": answer["id"], "question_id": answer["parent_id"]}
        ids["token"] = talk.post("/shares")["path"].removeprefix("/shared/")
    if "{document_id}" in path:
        ids["document_id"] = upload(server, "The mistral is cold.")["id"]
    if "{user_id}" in path:
        ids["user_id"] = operators_of(server, f"{new_id()}.example", "member")["member"].user_id
    if path.startswith(("/v1/providers", "/v1/offerings")):
        provider = {"name": new_id(), "base_url": NOBODY, "operator": "Nobody"}
        ids["provider_id"] = ask(server, "/v1/providers", provider).json["id"]
        offering = {"model": new_id(), "provider_id": ids["provider_id"]}
        ids["offering_id"] = ask(server, "/v1/offerings", offering).json["id"]
    if "{month}" in path:
        ids["month"] = f"{now():%Y-%m}"
    if "{scope}" in path:
        ids["scope"] = "key"
    if "{preset_id}" in path:
        for preset in ask(server, "/v1/presets").json["data"]:  # there is room for so many, and many examples make many
            ask(server, f"/v1/presets/{preset['id']}", method="DELETE")
    for name, (where, body) in MADE.items():
        if f"{{{name}}}" in path:
            made = ask(server, where, body)
            assert made.status == 200, made.text
            ids[name] = made.json["id"]
    return ids


def browser_of(server: LiveServer) -> dict[str, str]:
    """What a browser sends that is signed in."""
    person = operators_of(server, f"{new_id()}.example", "owner")["owner"]
    return {"cookie": f"tramontane_session_{server.port}={person.cookie}", "sec-fetch-site": "same-origin"}


def make_sensible(case: Case, model: str | None, messages: list[Any] | None, ids: dict[str, str]) -> None:
    """Sees to it that a request gets past what would be refused first, and is answered soon."""
    if model is not None:
        case.path_parameters.update({name: ids[name] for name in case.path_parameters if name in ids})
    if case.path_parameters.get("model_id") is not None and model is not None:
        case.path_parameters["model_id"] = model
    if case.path == "/v1/route" and case.method == "GET" and model is not None:
        case.query["model"] = model
    if case.path.startswith("/v1/catalogue/{name}") and model is not None:
        case.path_parameters["name"] = "mistral-large-2411"  # whose licence has to be accepted
    body = case.body
    if not isinstance(body, dict):
        return
    if case.path == "/v1/providers" and model is not None:
        body |= {"name": new_id(), "base_url": NOBODY}
    if case.path == "/v1/offerings" and model is not None:
        body |= {"model": new_id(), "provider_id": ids["provider_id"], "price": None}
    if case.path.endswith("/prices") and model is not None:
        body |= {"currency": "EUR", "cached_input": None, "valid_from": None, "valid_until": None}
    if "workspace_id" in body and model is not None:
        body["workspace_id"] = ids["workspace_id"]
    if isinstance(body.get("question_id"), str):
        body["question_id"] = ids["question_id"]
    for name in ("document_ids", "head_id"):  # which nobody guesses
        if model is not None:
            body.pop(name, None)
    if isinstance(body.get("model"), str) and model is not None:
        body["model"] = model
    if isinstance(body.get("messages"), list) and messages is not None:
        body["messages"] = messages
    for name, most in SHORT.items():
        if isinstance(body.get(name), int | float) and not isinstance(body[name], bool):
            body[name] = min(body[name], most)
    limit = "max_output_tokens" if case.path == "/v1/responses" else "max_tokens"
    if isinstance(body.get("model"), str) and body.get(limit) is None:
        body[limit] = SHORT[limit]
