"""Plain HTTP to a live server: no client library that would hide what was really said."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.api.live import LiveServer, wait_for

PATIENCE = 60.0  # seconds; nothing here takes a tenth of them on an idle machine
CHAT = "/v1/chat/completions"
CORRELATION_HEADER = "mistral-correlation-id"


@dataclass(frozen=True)
class Reply:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers[CORRELATION_HEADER]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def ask(
    server: LiveServer,
    path: str,
    body: Any = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    key: str | None = "",
) -> Reply:
    """What the server answers. `key`: by default the server's; None sends no Authorization at all."""
    sent = {} if key is None else {"authorization": f"Bearer {key or server.key}"}
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    if data is not None:
        sent["content-type"] = "application/json"
    request = urllib.request.Request(server.url + path, data, {**sent, **(headers or {})}, method=method)
    try:
        with _opener.open(request, timeout=PATIENCE) as reply:
            return Reply(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as reply:
        with reply:
            return Reply(reply.code, reply.headers, reply.read())


def chat(model: str = "small", tokens: int = 8, **fields: Any) -> dict[str, Any]:
    """A question that is answered with exactly so many tokens."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Which wind blows?"}], "max_tokens": tokens}
    return {**asked, "min_tokens": tokens, "temperature": 1, **fields}


# ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class OpenStream:
    """A stream that is being read, one event at a time, or given up."""

    def __init__(self, server: LiveServer, body: dict[str, Any], path: str = CHAT) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
        self._connection.request("POST", path, json.dumps({**body, "stream": True}), headers)
        self._reply = self._connection.getresponse()
        self.status, self.headers = self._reply.status, self._reply.headers

    def next_event(self) -> str | None:
        """The data of the next event; None at the end."""
        while line := self._reply.readline():
            if line.startswith(b"data: "):
                return line[6:].strip().decode()
        return None

    def next_text(self) -> str:
        """The text of the next event that has some."""
        while (event := self.next_event()) is not None:
            if content := json.loads(event)["choices"][0]["delta"].get("content"):
                return str(content)
        raise AssertionError("the stream has ended")

    def rest(self) -> list[str]:
        """All events to the end."""
        return list(iter(self.next_event, None))

    def hang_up(self) -> None:
        """Closes the connection, whatever is still to come."""
        self._reply.close()
        self._connection.close()


@contextmanager
def streaming(server: LiveServer, body: dict[str, Any]) -> Iterator[OpenStream]:
    """A stream that has begun: its first text has come."""
    stream = OpenStream(server, body)
    try:
        assert stream.status == 200
        stream.next_text()
        yield stream
    finally:
        stream.hang_up()


def is_well_formed(events: list[str]) -> bool:
    """Whether a stream ended as every client reads it: finish reason and usage, then [DONE]."""
    if len(events) < 2 or events[-1] != "[DONE]":
        return False
    last = json.loads(events[-2])
    return last["choices"][0]["finish_reason"] is not None and last["usage"]["completion_tokens"] > 0


def session(server: LiveServer) -> aiohttp.ClientSession:
    """For many requests at once."""
    return aiohttp.ClientSession(
        server.url,
        connector=aiohttp.TCPConnector(limit=0),
        headers={"authorization": f"Bearer {server.key}"},
        timeout=aiohttp.ClientTimeout(total=2 * PATIENCE),
    )


# ── what the server counts ──────────────────────────────────────────────────────────────────────────────────────────


def metrics(server: LiveServer) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, read by the parser of Prometheus' own library."""
    families = text_string_to_metric_families(ask(server, "/metrics").text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def total(server: LiveServer, name: str, **labels: str) -> float:
    """The sum of the samples of one name that have these labels."""
    wanted = set(labels.items())
    samples = metrics(server).items()
    return sum(value for (found, having), value in samples if found == f"tramontane_{name}" and wanted <= set(having))


def nothing_is_held(server: LiveServer) -> bool:
    """The books balance: nobody runs, nobody waits, and every block of the pool is free."""
    return all(total(server, name) == 0 for name in ("num_requests_running", "num_requests_waiting")) and (
        total(server, "kv_cache_usage_perc") == 0
    )


def wait_until_nothing_is_held(server: LiveServer, seconds: float = 10.0) -> None:
    """Fails where something is still held after so long."""
    wait_for(lambda: nothing_is_held(server), "an empty pool and an empty queue", seconds)


def resident_bytes(server: LiveServer) -> int:
    """The memory that the server's process holds."""
    with open(f"/proc/{server.process.pid}/status") as status:
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
    assert found is not None
    return int(found[1]) * 1024
