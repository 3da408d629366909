"""What one client sends must not break the server, nor keep the others waiting."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.live import LiveServer, serve, write_tekken_model
from tests.api.talking import CHAT, ask, chat
from tramontane.catalogue.store import ModelStore

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"
ASKED = [{"role": "user", "content": "Winds?"}]
AT_ONCE = 2.0  # seconds, on a busy machine; what these tests guard against took from 2 to 9


def test_metadata_that_is_no_unicode_breaks_no_metrics(server: LiveServer) -> None:
    body = json.dumps(chat(metadata={"a": "\ud800", "\udfff": [1]})).encode()
    assert ask(server, CHAT, body).status == 200
    assert ask(server, "/metrics").status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "small", "messages": [1] * 300_000}),
        (CHAT, {"model": "small", "messages": ASKED, "documents": [{}] * 300_000}),
        (COMPLETIONS, {"model": "small", "prompt": [{}] * 300_000}),
        (EMBEDDINGS, {"model": "small", "input": [[0.5]] * 300_000}),
        ("/detokenize", {"model": "small", "tokens": ["x"] * 300_000}),
    ],
)
def test_a_million_mistakes_are_one_complaint(server: LiveServer, path: str, body: dict[str, Any]) -> None:
    started = time.monotonic()
    reply = ask(server, path, body)
    assert reply.status == 422
    assert len(reply.body) < 20_000
    assert time.monotonic() - started < AT_ONCE


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function", "function": "x"}], "tool_choice": {"function": {"name": "x"}}}, "tool_choice"),
        ({"messages": [{"role": "user", "content": 5}], "documents": [{"text": "a"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 5}], "response_format": {"type": "quotes"}}, "messages"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": "x" * 257}, "stop"),
        ({"prediction": {"type": "content", "content": "a b " * 200_000}}, "prediction"),
    ],
)
def test_what_would_harm_is_refused_by_name(server: LiveServer, fields: dict[str, Any], param: str) -> None:
    reply = ask(server, CHAT, chat(**fields))
    assert (reply.status, reply.json["param"]) == (400, param)


def test_stop_strings_beside_a_schema_do_not_cut_it(server: LiveServer) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": False}
    format_ = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    reply = ask(server, CHAT, chat(tokens=300, response_format=format_, stop=["}", "1"]))
    assert json.loads(reply.json["choices"][0]["message"]["content"]) == {"a": 1}
    assert "stop strings had no effect" in str(server.log_line_of(reply.id)["notes"])


def test_many_texts_to_embed_keep_nobody_waiting(server: LiveServer) -> None:
    done: list[int] = []
    texts = ["the wind blows over the hill " * 8] * 400
    embedding = threading.Thread(
        target=lambda: done.append(ask(server, EMBEDDINGS, {"model": "embedder", "input": texts}).status)
    )
    embedding.start()
    worst = 0.0
    while embedding.is_alive():
        started = time.monotonic()
        assert ask(server, "/health", key=None).status == 200
        worst = max(worst, time.monotonic() - started)
    assert done == [200]
    assert worst < AT_ONCE


def test_a_batch_larger_than_the_queue_is_embedded_all_the_same(tmp_path: Path) -> None:
    model = write_tekken_model(tmp_path / "model", 13)
    with serve(f"--model=small={model}", "--kv-memory=8MiB", "--max-queue=1", home=tmp_path / "home") as live:
        reply = ask(live, EMBEDDINGS, {"model": "small", "input": ["wind"] * 300})
        assert reply.status == 200
        assert len(reply.json["data"]) == 300


def test_headers_without_end_end_the_connection(server: LiveServer) -> None:
    filler = b"x-filler: " + b"y" * 8000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall(filler * 8000)  # 61 MiB, were it let
    assert ask(server, "/health", key=None).status == 200


def test_what_is_served_under_another_name_is_not_deleted(tmp_path: Path) -> None:
    folder = ModelStore(tmp_path / "home").folder("owner/name")
    write_tekken_model(folder, 13)
    with serve(f"--model=mine={folder}", "--kv-memory=8MiB", home=tmp_path / "home") as live:
        reply = ask(live, "/v1/models/owner/name", method="DELETE")
        assert reply.status == 400
        assert "is being served" in reply.json["message"]
    assert (folder / "tekken.json").is_file()
