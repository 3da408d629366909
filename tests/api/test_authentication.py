"""Nothing answers without a credential, and no secret is seen where it was not asked for."""

from __future__ import annotations

import asyncio
import http.cookies
import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from tests.api.live import LiveServer, serve, write_tekken_model
from tests.api.talking import CHAT, PATIENCE, Reply, ask, chat
from tramontane.accounts.authenticator import Authenticator
from tramontane.api.app import OPEN_ROUTES, create_app, create_routes
from tramontane.api.errors import MAX_BODY_BYTES
from tramontane.api.platform import Platform
from tramontane.catalogue.store import ModelStore
from tramontane.gateway.metrics import Metrics
from tramontane.storage.database import Database

CANARY_PROMPT = "canary of a prompt that nobody else may read"


def session_cookie(server: LiveServer) -> str:
    """The port is in its name: browsers send a host's cookies to all of its ports."""
    return f"tramontane_session_{server.port}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tekken_model(tmp_path_factory.mktemp("model"), 13)


@pytest.fixture(scope="module")
def signed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, str]]:
    """A server with the log for people, and the cookie of a session that its printed link has opened."""
    arguments = (f"--model=small={model}", "--kv-memory=8MiB", "--log-format=human")
    with serve(*arguments, home=tmp_path_factory.mktemp("signed")) as live:
        yield live, session_of(sign_in(live))


def sign_in_token(live: LiveServer) -> str:
    found = re.search(r"/sign-in\?token=(\S+)", live.stdout.read_text())
    assert found is not None
    return found[1]


def sign_in(live: LiveServer) -> Reply:
    return ask(live, f"/sign-in?token={sign_in_token(live)}", key=None)


def session_of(reply: Reply) -> str:
    """The session's token, from the header that sets the cookie."""
    return next(iter(http.cookies.SimpleCookie(reply.headers["set-cookie"]).values())).value


def with_cookie(
    live: LiveServer, path: str, token: str, body: Any = None, *, method: str | None = None, **headers: str
) -> Reply:
    """As a browser asks: with the cookie, and headers that pages cannot forge."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    cookie = {"cookie": f"{session_cookie(live)}={token}"}
    return ask(live, path, body, key=None, method=method, headers={**cookie, **sent})


# ── default deny ────────────────────────────────────────────────────────────────────────────────────────────────────


def all_routes() -> list[APIRoute]:
    """Every route of the application; fails on one of a kind that it does not know."""

    def walk(routes: Sequence[Any]) -> Iterator[APIRoute]:
        for route in routes:
            if isinstance(route, APIRoute):
                yield route
            else:
                yield from walk(route.original_router.routes)

    platform = Platform(None, None, [], Metrics(), None)  # type: ignore[arg-type]  # nobody asks them
    return list(walk(create_routes(platform).routes))


def closed_routes() -> list[tuple[str, str]]:
    """Every method and path that must not answer without a credential."""
    return [(method, route.path) for route in all_routes() if route.path not in OPEN_ROUTES for method in route.methods]


def test_open_routes_are_routes_and_all_others_are_closed() -> None:
    paths = {route.path for route in all_routes()}
    assert paths > OPEN_ROUTES
    assert {CHAT, "/v1/models/{model_id:path}", "/metrics", "/openapi.json", "/sign-out"} <= paths - OPEN_ROUTES


def test_every_closed_route_answers_401_in_process(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[str, str, int, Any]]:
        db = Database.open(None, tmp_path)
        await db.upgrade()
        app = create_app(Platform(db, Authenticator(db), [], Metrics(), ModelStore(tmp_path)))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client:
            replies = [(method, path, await client.request(method, path)) for method, path in closed_routes()]
        await db.close()
        return [(method, path, reply.status_code, reply.json()) for method, path, reply in replies]

    for method, path, status, body in asyncio.run(scenario()):
        assert (status, body["detail"]) == (401, "Unauthorized"), f"{method} {path}"


@pytest.mark.parametrize(("method", "path"), closed_routes())
def test_every_closed_route_answers_401(server: LiveServer, method: str, path: str) -> None:
    path = path.replace("{model_id:path}", "org/slashed")
    body = {"model": "small"} if method == "POST" else None
    cookie = {"cookie": f"{session_cookie(server)}=x"}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": server.key}, cookie):
        reply = ask(server, path, body, method=method, headers=headers, key=None)
        assert reply.status == 401, headers
        assert reply.json == {"detail": "Unauthorized", "correlation_id": reply.id}
        assert reply.headers["www-authenticate"] == "Bearer"


def test_open_routes_tell_nothing_of_models(server: LiveServer) -> None:
    pages = ("/", "/c/x", "/library", "/models", "/shared/x", "/docs")
    for path in (*pages, "/health", "/ready", "/assets/docs.js", "/assets/page.css", "/assets/icon.svg"):
        reply = ask(server, path, key=None)
        assert reply.status == 200, path
        assert b"org/slashed" not in reply.body
    for path in ("/assets/__init__.py", "/assets/..%2fpages.py", "/assets/index.html", "/nothing"):
        assert ask(server, path, key=None).status == 404


def test_a_strange_host_header_opens_nothing(server: LiveServer) -> None:
    for host in ("localhost/health?", "a@/health", "/ready", "127.0.0.1:80/../health"):
        assert ask(server, "/v1/models", headers={"host": host}, key=None).status == 401


def test_who_is_unknown_cannot_make_the_server_read_a_large_body(server: LiveServer) -> None:
    """The answer is there although the body never comes: 20 MiB are announced, and a few bytes sent."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {20 * 2**20}\r\nAuthorization: Bearer wrong\r\n"
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f'{head}Content-Type: application/json\r\n\r\n{{"model":'.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - begun < 5


def test_a_body_over_the_limit_is_refused_by_its_length_alone(server: LiveServer) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"])
def test_a_body_is_json_whatever_the_client_calls_it(server: LiveServer, kind: str) -> None:
    """`curl -d` calls it a form."""
    assert ask(server, CHAT, chat(), headers={"content-type": kind}).status == 200


# ── browsers ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sign_in_link_works_once(model: Path, tmp_path: Path) -> None:
    with serve(f"--model=small={model}", "--kv-memory=8MiB", home=tmp_path) as live:
        token = sign_in_token(live)
        reply = sign_in(live)
        assert (reply.status, reply.headers["location"]) == (303, "/")
        cookie = http.cookies.SimpleCookie(reply.headers["set-cookie"])[session_cookie(live)]
        assert cookie["httponly"] is True
        assert cookie["samesite"].lower() in ("lax", "strict")
        assert cookie["path"] == "/"
        again = sign_in(live)
        assert (again.status, again.headers["location"]) == (303, "/?link=spent")
        assert "set-cookie" not in again.headers
        assert ask(live, "/sign-in?token=wrong", key=None).headers["location"] == "/?link=spent"
        assert ask(live, "/sign-in", key=None).headers["location"] == "/?link=spent"

        session = cookie.value
        assert with_cookie(live, "/v1/models", session).status == 200
        left = ask(
            live, "/sign-out", b"", key=None,
            headers={"cookie": f"{session_cookie(live)}={session}", "sec-fetch-site": "same-origin"},
        )  # fmt: skip
        assert left.status == 204
        assert with_cookie(live, "/v1/models", session).status == 401

        ask(live, CHAT, chat(messages=[{"role": "user", "content": CANARY_PROMPT}], user=CANARY_PROMPT))
        ask(live, CHAT, chat(messages=[{"role": CANARY_PROMPT, "content": CANARY_PROMPT}]))
        ask(live, CHAT, b'{"model": "small", "messages": "' + CANARY_PROMPT.encode() + b'"}')
        ask(live, "/v1/embeddings", {"model": "small", "input": CANARY_PROMPT})
        assert_nothing_leaked(live, (live.key, token, session, CANARY_PROMPT))
    assert_nothing_leaked(live, (live.key, token, session, CANARY_PROMPT), alive=False)


def test_the_cookie_of_a_browser_opens_what_a_key_opens(signed: tuple[LiveServer, str]) -> None:
    live, session = signed
    assert with_cookie(live, "/v1/models", session).json["data"][0]["id"] == "small"
    assert with_cookie(live, CHAT, session, chat(), sec_fetch_site="same-origin").status == 200
    own = f"http://127.0.0.1:{live.port}"
    assert with_cookie(live, CHAT, session, chat(), origin=own).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {},
    ],
)
def test_another_site_changes_nothing_with_a_browsers_cookie(
    signed: tuple[LiveServer, str], headers: dict[str, str]
) -> None:
    live, session = signed
    reply = with_cookie(live, CHAT, session, chat(), **headers)
    assert reply.status == 403
    assert reply.json["type"] == "forbidden"
    assert "another site" in reply.json["message"]
    assert with_cookie(live, "/sign-out", session, b"", **headers).status == 403
    assert with_cookie(live, "/v1/models", session).status == 200  # it is still signed in


def test_a_key_wins_over_a_cookie(signed: tuple[LiveServer, str]) -> None:
    live, session = signed
    wrong = {"cookie": f"{session_cookie(live)}={session}", "authorization": "Bearer wrong"}
    assert ask(live, "/v1/models", headers=wrong, key=None).status == 401
    right = {"cookie": f"{session_cookie(live)}=wrong", "sec-fetch-site": "cross-site"}
    assert ask(live, CHAT, chat(), headers=right).status == 200


# ── the canary ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_secret_is_seen_in_the_log_for_people(signed: tuple[LiveServer, str]) -> None:
    live, session = signed
    asked = chat(messages=[{"role": "user", "content": CANARY_PROMPT}], metadata={"team": "wind"}, nonsense=1)
    replies = [
        ask(live, CHAT, asked),
        ask(live, CHAT, {**asked, "stream": True}),
        ask(live, CHAT, {**asked, "temperature": 99}),
        ask(live, CHAT, {**asked, "model": "nothing"}),
        ask(live, f"/nothing/{live.key}?key={live.key}"),
        ask(live, CHAT, asked, key="wrong"),
    ]
    assert [reply.status for reply in replies] == [200, 200, 422, 404, 404, 401]
    for reply in replies[2:4] + replies[5:]:
        assert live.key not in reply.text + str(reply.headers)
        assert CANARY_PROMPT not in reply.text
    assert_nothing_leaked(live, (live.key, sign_in_token(live), session, CANARY_PROMPT))
    assert not live.log  # it is the format for people


def assert_nothing_leaked(live: LiveServer, secrets: tuple[str, ...], alive: bool = True) -> None:
    """Not in the log, the metrics, the environment of the process that others may read, or any file."""
    introduction = live.stdout.read_text()
    said = [line for line in introduction.splitlines() if not line.endswith("no price set, so it is free.")]
    assert len(said) == 2  # where it listens, and the link; nothing after that
    seen = {"log": live.stderr.read_bytes()}
    if alive:
        seen["metrics"] = ask(live, "/metrics").body
    for path in live.home.rglob("*"):
        if path.is_file() and path != live.stdout:
            seen[path.name] = path.read_bytes()
    assert any(name.endswith(".db") or ".sqlite" in name for name in seen), list(seen)
    for secret in secrets:
        for name, content in seen.items():
            assert secret.encode() not in content, f"{secret} in {name}"
