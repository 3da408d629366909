"""The error model, on every route: what is wrong is said in the shape that clients read, and the server lives on."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.live import LiveServer
from tests.api.raw import CHAT, Reply, get, post, send
from tramontane.api.app import OPEN_ROUTES
from tramontane.api.errors import MAX_BODY_BYTES

CORRELATION = "mistral-correlation-id"

#: A request that each route answers, by its path.
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": "v11", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2},
    "/v1/fim/completions": {"model": "v11", "prompt": "def f(", "max_tokens": 2},
    "/v1/completions": {"model": "v11", "prompt": "The wind", "max_tokens": 2},
    "/v1/embeddings": {"model": "embedder", "input": "wind"},
    "/v1/responses": {"model": "v11", "input": "Hi", "max_output_tokens": 2},
    "/tokenize": {"model": "v11", "prompt": "wind"},
    "/detokenize": {"model": "v11", "tokens": [100, 101]},
}
#: The field of each route that holds the text, and that must be given.
REQUIRED = {
    CHAT: "messages",
    "/v1/fim/completions": "prompt",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/responses": "input",
    "/detokenize": "tokens",
}
with_a_body = pytest.mark.parametrize("path", GOOD)

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def error_of(server: LiveServer, reply: Reply, status: int) -> dict[str, Any]:
    """The body of an error, which has all five keys and its correlation id, as do the header and the log."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/json"
    body: dict[str, Any] = reply.json
    assert body.keys() == {"object", "message", "type", "param", "code", "correlation_id"}
    assert body["object"] == "error"
    assert isinstance(body["type"], str)
    assert body["code"] is None or isinstance(body["code"], str)
    assert body["param"] is None or isinstance(body["param"], str)
    assert re.fullmatch("[0-9a-f]{32}", body["correlation_id"])
    assert reply.headers[CORRELATION] == body["correlation_id"]
    assert server.log_line_of(body["correlation_id"])["status"] == status
    assert b"Traceback" not in reply.body
    return body


def places_of(body: dict[str, Any]) -> list[tuple[str | int, ...]]:
    """Where the fields of a 422 are, each of which has a message too."""
    entries = body["message"]["detail"]
    assert all(entry.keys() >= {"loc", "msg", "type"} for entry in entries)
    return [tuple(entry["loc"]) for entry in entries]


def message_of(server: LiveServer, reply: Reply, status: int = 400) -> str:
    """The message of an error, which is a sentence."""
    message = error_of(server, reply, status)["message"]
    assert isinstance(message, str)
    assert message.endswith(".")
    return message


def chat(server: LiveServer, **fields: Any) -> Reply:
    return post(server, CHAT, {**GOOD[CHAT], **fields})


@with_a_body
def test_the_requests_below_are_wrong_only_where_they_mean_to_be(server: LiveServer, path: str) -> None:
    reply = post(server, path, GOOD[path])
    assert reply.status == 200, reply.body
    assert server.log_line_of(reply.headers[CORRELATION])["route"] == path


# ── who asks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def described_routes(server: LiveServer) -> Iterator[tuple[str, str]]:
    """Method and path of every route; those that the description leaves out stand here."""
    for path, methods in get(server, "/openapi.json").json["paths"].items():
        for method in methods:
            yield method.upper(), path
    yield from [("GET", "/openapi.json"), ("POST", "/sign-out")]


@pytest.mark.parametrize("authorization", ["", "Basic dXNlcjpwYXNz", "Bearer", "Bearer wrong", "bearer  "])
def test_no_route_answers_without_a_key(server: LiveServer, authorization: str) -> None:
    closed = [(method, path) for method, path in described_routes(server) if path not in OPEN_ROUTES]
    assert {path for _, path in closed} > GOOD.keys()
    for method, path in closed:
        reply = send(server, method, path, b"{", {"authorization": authorization})
        assert reply.status == 401, (method, path)
        assert reply.json["detail"] == "Unauthorized"
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers[CORRELATION] == reply.json["correlation_id"]


def test_a_key_in_a_wrong_scheme_is_none(server: LiveServer) -> None:
    for scheme in ("Basic", "Token", "Bearers"):
        assert send(server, "GET", "/v1/models", headers={"authorization": f"{scheme} {server.key}"}).status == 401


def test_the_scheme_may_be_written_in_any_case(server: LiveServer) -> None:
    assert send(server, "GET", "/v1/models", headers={"authorization": f"bEARER {server.key}"}).status == 200


def test_the_key_is_never_in_the_log(server: LiveServer) -> None:
    assert chat(server).status == 200
    assert server.key not in server.stderr.read_text()


# ── what cannot be read ─────────────────────────────────────────────────────────────────────────────────────────────


@with_a_body
@pytest.mark.parametrize("body", [b'{"model": ', b"not json", b"{'model': 1}", b'{"a": 1,}', b'{"a": 1} x'])
def test_what_is_no_json_is_a_400(server: LiveServer, path: str, body: bytes) -> None:
    assert "JSON" in message_of(server, send(server, "POST", path, body))


@with_a_body
def test_deep_nesting_is_refused(server: LiveServer, path: str) -> None:
    for depth in (2_000, 200_000):
        body = json.dumps(GOOD[path])[:-1].encode() + b', "x": ' + b"[" * depth + b"]" * depth + b"}"
        assert "nested too deeply" in message_of(server, send(server, "POST", path, body))


@with_a_body
def test_numbers_of_5000_digits_are_refused(server: LiveServer, path: str) -> None:
    body = json.dumps(GOOD[path])[:-1].encode() + b', "seed": ' + b"9" * 5000 + b"}"
    assert "too many digits" in message_of(server, send(server, "POST", path, body))


@with_a_body
def test_bytes_that_are_no_text_are_refused(server: LiveServer, path: str) -> None:
    assert "Unicode" in message_of(server, send(server, "POST", path, b'{"model": "\xff\xfe"}'))


@with_a_body
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b"7"])
def test_a_body_that_is_no_object_is_a_422(server: LiveServer, path: str, body: bytes) -> None:
    assert places_of(error_of(server, send(server, "POST", path, body), 422)) == [("body",)]


@pytest.mark.parametrize("field", ["temperature", "top_p", "presence_penalty", "repetition_penalty"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_out_of_range(server: LiveServer, field: str, number: str) -> None:
    body = json.dumps(GOOD[CHAT])[:-1] + f', "{field}": {number}}}'
    assert ("body", field) in places_of(error_of(server, send(server, "POST", CHAT, body.encode()), 422))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_bias_is_a_number_too(server: LiveServer, number: str) -> None:
    body = json.dumps(GOOD[CHAT])[:-1] + f', "logit_bias": {{"7": {number}}}}}'
    assert error_of(server, send(server, "POST", CHAT, body.encode()), 400)["param"] == "logit_bias"


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (CHAT, "messages", [{"role": "user", "content": "half \ud83d"}]),
        (CHAT, "messages", [{"role": "user", "content": [{"type": "text", "text": "\udc00"}]}]),
        ("/v1/fim/completions", "prompt", "\ud800"),
        ("/v1/completions", "prompt", "\ud800"),
        ("/v1/embeddings", "input", ["\ud800"]),
        ("/v1/responses", "input", "\ud800"),
        ("/tokenize", "prompt", "\ud800"),
    ],
)
def test_half_a_surrogate_pair_is_no_text(server: LiveServer, path: str, field: str, value: object) -> None:
    assert "surrogate" in message_of(server, post(server, path, {**GOOD[path], field: value}))


@with_a_body
def test_half_a_surrogate_pair_is_no_model(server: LiveServer, path: str) -> None:
    error_of(server, post(server, path, {**GOOD[path], "model": "\ud800"}), 404)


# ── fields ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@with_a_body
def test_a_missing_model_is_named(server: LiveServer, path: str) -> None:
    body = {name: value for name, value in GOOD[path].items() if name != "model"}
    assert places_of(error_of(server, post(server, path, body), 422)) == [("body", "model")]


@pytest.mark.parametrize(("path", "field"), REQUIRED.items())
def test_a_field_of_a_wrong_type_is_named(server: LiveServer, path: str, field: str) -> None:
    for wrong in (True, 1.5, {"a": 1}):
        places = places_of(error_of(server, post(server, path, {**GOOD[path], field: wrong}), 422))
        assert places
        assert all(place[:2] == ("body", field) for place in places)


@pytest.mark.parametrize(("path", "field"), REQUIRED.items())
def test_a_missing_field_is_named(server: LiveServer, path: str, field: str) -> None:
    body = {name: value for name, value in GOOD[path].items() if name != field}
    assert places_of(error_of(server, post(server, path, body), 422)) == [("body", field)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1), ("temperature", 2.1), ("top_p", 1.1), ("top_p", -1), ("max_tokens", 0), ("n", 0),
        ("n", 129), ("min_tokens", -1), ("presence_penalty", 2.5), ("frequency_penalty", -2.5),
        ("repetition_penalty", 0), ("top_logprobs", -1), ("top_logprobs", 101), ("top_k", -2), ("stop", 7),
        ("temperature", "warm"), ("stream", "perhaps"), ("random_seed", 1.5), ("tool_choice", "perhaps"),
        ("metadata", []), ("response_format", "json"), ("tools", {}), ("logit_bias", {"x": 1}),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_named(server: LiveServer, field: str, value: object) -> None:
    places = places_of(error_of(server, chat(server, **{field: value}), 422))
    assert places
    assert all(place[:2] == ("body", field) for place in places)


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/v1/embeddings", "output_dimension", 0),
        ("/v1/embeddings", "output_dtype", "float64"),
        ("/v1/embeddings", "encoding_format", "hex"),
        ("/v1/completions", "logprobs", 101),
        ("/v1/responses", "max_output_tokens", 0),
        ("/v1/responses", "temperature", 3),
        ("/v1/fim/completions", "suffix", 7),
        ("/tokenize", "messages", "Hi"),
    ],
)
def test_fields_of_other_routes_are_named_too(server: LiveServer, path: str, field: str, value: object) -> None:
    places = places_of(error_of(server, post(server, path, {**GOOD[path], field: value}), 422))
    assert all(place[:2] == ("body", field) for place in places)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"min_tokens": 3, "max_tokens": 2}, "min_tokens"),
        (CHAT, {"logit_bias": {"1064": 1}}, "logit_bias"),
        (CHAT, {"logit_bias": {"7": 101}}, "logit_bias"),
        (CHAT, {"stop": ""}, "stop"),
        (CHAT, {"tool_choice": "any"}, "tool_choice"),
        (CHAT, {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        (CHAT, {"tools": [{"type": "function", "function": {"name": "has blanks"}}]}, "tools.0.function.name"),
        (CHAT, {"guardrails": [{}]}, "guardrails"),
        (CHAT, {"reasoning_effort": "max"}, "reasoning_effort"),
        (CHAT, {"model": "embedder"}, "model"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": [5000]}, "prompt"),
        ("/v1/completions", {"best_of": 3}, "best_of"),
        ("/v1/completions", {"suffix": "x", "echo": True}, "echo"),
        ("/v1/embeddings", {"output_dimension": 65}, "output_dimension"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": ["wind", ""]}, None),
        ("/v1/embeddings", {"input": [5000]}, "input.0"),
        ("/v1/responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
        ("/v1/responses", {"background": True}, "background"),
        ("/v1/responses", {"input": [{"type": "computer_call"}]}, "input.0"),
        ("/tokenize", {"messages": [USER]}, "prompt"),
        ("/detokenize", {"tokens": [1064]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
    ],
)
def test_what_cannot_be_served_is_a_400_that_names_the_field(
    server: LiveServer, path: str, fields: dict[str, Any], param: str | None
) -> None:
    reply = post(server, path, {**GOOD[path], **fields})
    if param is None:  # an empty text is still a text: it has its first and its last token
        assert reply.status == 200
        return
    message_of(server, reply)
    assert reply.json["param"] == param


@with_a_body
def test_an_unknown_model_is_a_404_with_the_nearest_names(server: LiveServer, path: str) -> None:
    body = error_of(server, post(server, path, {**GOOD[path], "model": "embeder"}), 404)
    assert body["code"] == "1500"
    assert body["type"] == "invalid_model"
    assert body["param"] == "model"
    assert "'embedder'" in body["message"]


@with_a_body
def test_unknown_fields_are_ignored_and_counted(server: LiveServer, path: str) -> None:
    name = f"zork_{path.strip('/').replace('/', '_')}"
    reply = post(server, path, {**GOOD[path], name: {"deep": [1]}})
    assert reply.status == 200
    assert server.log_line_of(reply.headers[CORRELATION])["ignored_fields"] == [name]
    counted = rf'^tramontane_ignored_fields_total\{{field="{name}"\}} 1\.0$'
    assert re.search(counted, get(server, "/metrics").body.decode(), re.MULTILINE)


# ── messages, schemas, lengths ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", ["small", "v11", "v13"])
@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([USER, {"role": "assistant", "content": "Hello."}], "messages"),
        ([USER, {"role": "assistant", "content": "H", "prefix": True}, USER], "messages.1.prefix"),
        ([USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, USER], "messages.2"),
    ],
)
def test_a_wrong_order_of_roles_has_its_code(server: LiveServer, model: str, messages: Any, place: str) -> None:
    body = error_of(server, chat(server, model=model, messages=messages), 400)
    assert body["code"] == "3230"
    assert body["type"] == "invalid_request_message_order"
    assert body["param"].startswith(place)


@pytest.mark.parametrize("model", ["small", "v11", "v13"])
@pytest.mark.parametrize(
    "messages",
    [
        [USER, {"role": "tool", "content": "7", "tool_call_id": "abcdefghi"}],
        [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "7", "tool_call_id": "another00"},
        ],
        [USER, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": 7}}]}, USER],
    ],
)
def test_a_wrong_tool_call_has_its_code(server: LiveServer, model: str, messages: Any) -> None:
    body = error_of(server, chat(server, model=model, messages=messages), 400)
    assert body["code"] == "3280"
    assert body["type"] == "invalid_function_call"
    assert re.match(r"messages\.\d+\.tool_call", body["param"])


@pytest.mark.parametrize(
    "message",
    [
        {"role": "alien", "content": "Hi"},
        {"content": "Hi"},
        {"role": "user", "content": 7},
        {"role": "user", "content": [7]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": ["user"], "content": "Hi"},
    ],
)
def test_a_message_that_is_none_is_named(server: LiveServer, message: Any) -> None:
    assert error_of(server, chat(server, messages=[USER, message]), 400)["param"].startswith("messages.1")


@pytest.mark.parametrize("model", ["small", "tekken", "v11", "v13", "v15"])
def test_a_text_model_says_that_it_sees_no_images(server: LiveServer, model: str) -> None:
    image = {"type": "image_url", "image_url": "https://example.com/wind.png"}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    reply = chat(server, model=model, messages=messages)
    assert "image_url" in message_of(server, reply)
    assert reply.json["param"].startswith("messages.0.content.1")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "wind"}, "wind"),
        ({"type": "string", "format": "wind"}, "Unknown format"),
        ({"type": "string", "pattern": "(?=a)b"}, "regular expression"),
        ({"$ref": "#/$defs/none"}, "none"),
        ({"allOf": [{"const": 1}, {"const": 2}]}, ""),
    ],
)
def test_a_schema_that_cannot_be_held_is_refused_with_the_reason(
    server: LiveServer, schema: dict[str, Any], reason: str
) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    reply = chat(server, response_format=wanted)
    assert reason in message_of(server, reply)
    assert reply.json["param"] == "response_format"
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"properties": {"a": schema}, "required": ["a"]}},
    }
    assert reason in message_of(server, chat(server, tools=[tool], tool_choice="any"))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "wind " * 4000}]}),
        ("/v1/fim/completions", {"prompt": "wind " * 4000}),
        ("/v1/completions", {"prompt": [100] * 2049}),
        ("/v1/embeddings", {"input": ["wind", "wind " * 4000]}),
        ("/v1/responses", {"input": "wind " * 4000}),
    ],
)
def test_a_prompt_longer_than_the_context_is_refused_with_its_length(
    server: LiveServer, path: str, fields: dict[str, Any]
) -> None:
    message = message_of(server, post(server, path, {**GOOD[path], **fields}))
    assert "2048" in message
    assert re.search(r"\b\d{4,5} tokens", message)


# ── too much ────────────────────────────────────────────────────────────────────────────────────────────────────────


@with_a_body
def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: LiveServer, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("authorization", f"Bearer {server.key}")
    connection.putheader("content-length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert_too_large(connection)


def test_a_body_that_grows_over_the_limit_is_refused(server: LiveServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", CHAT)
    connection.putheader("authorization", f"Bearer {server.key}")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    for size in (*[2**20] * 32, 1):
        connection.send(b"%x\r\n" % size + b" " * size + b"\r\n")
    assert_too_large(connection)


def assert_too_large(connection: http.client.HTTPConnection) -> None:
    with connection.getresponse() as reply:
        assert reply.status == 413
        body = json.loads(reply.read())
        assert body.keys() == {"object", "message", "type", "param", "code", "correlation_id"}
        assert "32 MiB" in body["message"]
        assert reply.getheader(CORRELATION) == body["correlation_id"]
    connection.close()


def test_a_body_at_the_limit_is_read(server: LiveServer) -> None:
    body = json.dumps(GOOD["/tokenize"]).encode()
    assert send(server, "POST", "/tokenize", body + b" " * (MAX_BODY_BYTES - len(body))).status == 200


# ── where there is nothing ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/v1/nothing", "/v2/models", "/chat/completions", "/v1/chat/completions/", "//"])
def test_an_unknown_path_is_a_404(server: LiveServer, path: str) -> None:
    assert path in message_of(server, send(server, "POST", path, b"{}"), 404)


@with_a_body
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_wrong_method_is_a_405(server: LiveServer, path: str, method: str) -> None:
    reply = send(server, method, path)
    assert method in message_of(server, reply, 405)
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "%00", "%ff", "..%2f..%2fetc", "x" * 2000])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_card_is_a_404(server: LiveServer, method: str, name: str) -> None:
    body = error_of(server, send(server, method, f"/v1/models/{name}"), 404)
    assert body["code"] == "1500"
    assert len(body["message"]) < 400
