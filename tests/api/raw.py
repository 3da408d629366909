"""HTTP by hand, for what no client library sends or shows: bytes as they pass."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.api.live import LiveServer

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """An answer: header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def send(
    server: LiveServer,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request with the server's key, unless `headers` say otherwise; parts of a body are sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        sent = {"authorization": f"Bearer {server.key}", "content-type": "application/json"} | dict(headers or {})
        connection.request(method, path, body, {name: value for name, value in sent.items() if value})
        reply = connection.getresponse()
        found = {name.lower(): value for name, value in reply.getheaders()}
        return Reply(reply.status, found, reply.read())
    finally:
        connection.close()


def post(server: LiveServer, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """A request with a JSON body."""
    return send(server, "POST", path, json.dumps(body).encode(), headers)


def get(server: LiveServer, path: str) -> Reply:
    """A request without a body."""
    return send(server, "GET", path)


def events_of(body: bytes) -> Iterator[dict[str, Any]]:
    """The chunks of a stream, whose framing is held to the letter: `data: {…}`, a blank line, and `[DONE]` last."""
    assert body.endswith(b"\n\n")
    *events, done = body[:-2].split(b"\n\n")
    assert done == b"data: [DONE]"
    for event in events:
        assert event.startswith(b"data: {")
        assert b"\n" not in event
        yield json.loads(event[6:])
