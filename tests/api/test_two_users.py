"""Nobody reaches what is another user's: not from another workspace, and not from the same one.

Every route that takes an id of something that a user owns stands in `REQUESTS`; a new one that does not fails a test.
What organisations own is tried in `test_two_organisations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conversing import CONVERSATIONS, Talk, begin, keys_of_others, upload
from tests.api.live import LiveServer, serve, write_tekken_model
from tests.api.people import filled
from tests.api.talking import Reply, ask
from tests.api.test_authentication import all_routes, session_of, sign_in, with_cookie
from tests.api.test_two_organisations import OPERATOR, ORGANISATION, SHARED
from tramontane.api.app import OPEN_ROUTES
from tramontane.storage.base import new_id

TALK = f"{CONVERSATIONS}/{{conversation_id}}"
ANSWER = f"{TALK}/answers/{{answer_id}}"

# What is sent to each: bodies that would succeed for the owner. Names in braces are filled with the owner's ids.
REQUESTS: dict[tuple[str, str], Any] = {
    ("GET", TALK): None,
    ("PATCH", TALK): {"title": "taken"},
    ("DELETE", TALK): None,
    ("GET", f"{TALK}/messages"): None,
    ("GET", f"{TALK}/export"): None,
    ("POST", f"{TALK}/questions"): {"content": "Whose is this?"},
    ("POST", f"{TALK}/answers"): {"question_id": "{question_id}"},
    ("POST", f"{ANSWER}/continue"): b"",
    ("POST", f"{ANSWER}/stop"): b"",
    ("GET", f"{ANSWER}/events"): None,
    ("POST", f"{TALK}/shares"): b"",
    ("DELETE", f"{TALK}/shares/{{share_id}}"): None,
    ("GET", "/v1/documents/{document_id}"): None,
    ("DELETE", "/v1/documents/{document_id}"): None,
    ("PATCH", "/v1/presets/{preset_id}"): {"name": "taken"},
    ("DELETE", "/v1/presets/{preset_id}"): None,
}
# What a path names that no user owns.
NOT_OWNED = {"/v1/models/{model_id:path}"}
# Ids of the owner in bodies that are sent to what is the other user's own.
BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", CONVERSATIONS, {"document_ids": ["{document_id}"]}),
    ("PATCH", TALK, {"document_ids": ["{document_id}"]}),
    ("PATCH", TALK, {"head_id": "{answer_id}"}),
    ("POST", f"{TALK}/questions", {"content": "Whose?", "parent_id": "{answer_id}"}),
    ("POST", f"{TALK}/answers", {"question_id": "{question_id}"}),
]
WHO = ["colleague", "stranger"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    model = write_tekken_model(tmp_path_factory.mktemp("model"), 13)
    with serve(f"--model=small={model}", "--kv-memory=8MiB", home=tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture(scope="module")
def keys(live: LiveServer) -> dict[str, str]:
    return keys_of_others(live)


@pytest.fixture(scope="module")
def owned(live: LiveServer) -> dict[str, str]:
    """One of everything, of the first user."""
    document = upload(live, "The mistral is the owner's own wind.")
    talk = begin(live, title="The owner's", document_ids=[document["id"]])
    answer = talk.answered("The owner's question?")
    preset = ask(live, "/v1/presets", {"name": "The owner's"}).json
    return {
        "conversation_id": talk.id,
        "question_id": answer["parent_id"],
        "answer_id": answer["id"],
        "share_id": talk.post("/shares")["id"],
        "document_id": document["id"],
        "preset_id": preset["id"],
    }


def state(live: LiveServer, owned: dict[str, str]) -> list[Any]:
    """All that the owner has, as the owner sees it."""
    talk = Talk(live, owned["conversation_id"], "")
    paths = ("/v1/presets", f"/v1/documents/{owned['document_id']}", CONVERSATIONS)
    return [talk.ask().json, talk.page(), *(ask(live, path).json for path in paths)]


def test_every_route_with_an_id_is_tried() -> None:
    routes = {(method, route.path) for route in all_routes() for method in route.methods if "{" in route.path}
    owned = {(method, path) for method, path in routes if path not in OPEN_ROUTES | NOT_OWNED | SHARED}
    assert owned == {*REQUESTS, *ORGANISATION, *OPERATOR}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_what_is_anothers_is_as_if_it_were_not(
    live: LiveServer, keys: dict[str, str], owned: dict[str, str], who: str, method: str, path: str
) -> None:
    def send(ids: dict[str, str]) -> Reply:
        body = filled(REQUESTS[method, path], owned)
        return ask(live, filled(path, ids), body, method=method, key=keys[who])

    before = state(live, owned)
    theirs, nothing = send(owned), send({name: new_id() for name in owned})
    assert theirs.status == nothing.status == 404
    assert theirs.json["type"] == "not_found"
    assert {**theirs.json, "correlation_id": ""} == {**nothing.json, "correlation_id": ""}
    assert state(live, owned) == before


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=str)
def test_what_is_anothers_cannot_be_named_in_a_body(
    live: LiveServer, keys: dict[str, str], owned: dict[str, str], who: str, method: str, path: str, body: Any
) -> None:
    own = {"conversation_id": begin(live, keys[who]).id}
    reply = ask(live, filled(path, own), filled(body, owned), method=method, key=keys[who])
    assert (reply.status, reply.json["type"]) == (404, "not_found")


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    "path",
    [CONVERSATIONS, f"{CONVERSATIONS}?query=owner", "/v1/documents", "/v1/documents?query=a", "/v1/presets"],
)
def test_lists_hold_the_users_own(
    live: LiveServer, keys: dict[str, str], owned: dict[str, str], who: str, path: str
) -> None:
    shown = {one["id"] for one in ask(live, path, key=keys[who]).json["data"]}
    assert shown.isdisjoint(owned.values())
    assert {one["id"] for one in ask(live, path).json["data"]} & set(owned.values())


@pytest.mark.parametrize("who", WHO)
def test_a_branch_of_two_conversations_does_not_mix(
    live: LiveServer, keys: dict[str, str], owned: dict[str, str], who: str
) -> None:
    """Ids of the owner under the path of one's own conversation."""
    own = {**owned, "conversation_id": begin(live, keys[who]).id}
    for (method, path), body in REQUESTS.items():
        if path.startswith(TALK + "/") and ("{answer_id}" in path or "{share_id}" in path):
            assert ask(live, filled(path, own), filled(body, own), method=method, key=keys[who]).status == 404, path
    assert ask(live, f"{filled(TALK, own)}/messages?before={owned['answer_id']}", key=keys[who]).status == 404


def test_another_site_changes_nothing_with_a_browsers_cookie(live: LiveServer, owned: dict[str, str]) -> None:
    session, before = session_of(sign_in(live)), state(live, owned)
    assert with_cookie(live, CONVERSATIONS, session).json["data"]
    changing = [(method, path, body) for (method, path), body in REQUESTS.items() if method != "GET"]
    changing += [("POST", path, {}) for path in (CONVERSATIONS, "/v1/documents?name=a", "/v1/presets")]
    for method, path, body in changing:
        for headers in ({}, {"sec_fetch_site": "cross-site"}, {"origin": "https://evil.example"}):
            reply = with_cookie(live, filled(path, owned), session, filled(body, owned), method=method, **headers)
            assert (reply.status, reply.json["type"]) == (403, "forbidden"), (method, path)
    assert state(live, owned) == before
