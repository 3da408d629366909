"""Conversations with a live server, as the web app has them."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.api.live import LiveServer, wait_for
from tests.api.talking import PATIENCE, Reply, ask
from tests.conversations.people import colleague_of
from tramontane.accounts.keys import create_key
from tramontane.accounts.owners import first_owner
from tramontane.conversations.owner import Owner
from tramontane.storage.database import Database

CONVERSATIONS = "/v1/conversations"
MODEL = "small"  # of 32,768 random words one ends an answer: it goes on until it is cut
Message = dict[str, Any]
RAW = {"content-type": "application/octet-stream"}


@dataclass(frozen=True)
class Talk:
    """A conversation of the user of a key."""

    server: LiveServer
    id: str
    key: str

    def ask(self, path: str = "", body: Any = None, method: str | None = None) -> Reply:
        """What the server answers below the conversation's path."""
        return ask(self.server, f"{CONVERSATIONS}/{self.id}{path}", body, method=method, key=self.key)

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON of a request that must succeed."""
        reply = self.ask(path, b"" if body is None else body, "POST")
        assert reply.status == 200, reply.text
        return reply.json

    def question(
        self, content: str = "Which wind blows?", **fields: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Asks at the end of the shown branch; the question and the answers that are being written."""
        fields.setdefault("parent_id", self.head_id)
        asked = self.post("/questions", {"content": content, **fields})
        return asked["question"], asked["answers"]

    def answered(self, content: str = "Which wind blows?", **fields: Any) -> dict[str, Any]:
        """Asks, and waits for the answer's end."""
        return self.ended(self.question(content, **fields)[1][0]["id"])

    def ended(self, answer_id: str) -> dict[str, Any]:
        """The answer once it has ended, from the last of its events."""
        name, data = list(events(self.ask(f"/answers/{answer_id}/events")))[-1]
        assert name == "end"
        return data

    def page(self, query: str = "") -> dict[str, Any]:
        """Messages."""
        reply = self.ask(f"/messages{query}")
        assert reply.status == 200, reply.text
        return reply.json  # type: ignore[no-any-return]

    def message(self, message_id: str) -> dict[str, Any]:
        """One message of the shown branch."""
        return next(message for message in self.page("?limit=200")["data"] if message["id"] == message_id)

    @property
    def head_id(self) -> str | None:
        """The last message of the shown branch."""
        return self.ask().json["head_id"]  # type: ignore[no-any-return]


def begin(server: LiveServer, key: str = "", **settings: Any) -> Talk:
    """A new conversation, by default with short answers."""
    body = {"model": MODEL, "max_tokens": 8, "temperature": 1, **settings}
    reply = ask(server, CONVERSATIONS, body, key=key)
    assert reply.status == 200, reply.text
    return Talk(server, reply.json["id"], key)


def events(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a stream that has ended."""
    assert reply.status == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream"
    for block in reply.text.strip().split("\n\n"):
        name, data = block.split("\n")
        yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def added_up(stream: list[tuple[str, dict[str, Any]]]) -> str:
    """The text of an answer by its snapshot and what was added."""
    return stream[0][1]["content"] + "".join(data.get("content", "") for name, data in stream if name == "delta")  # type: ignore[no-any-return]


class Following:
    """The events of an answer as they come, or given up."""

    def __init__(self, talk: Talk, answer_id: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", talk.server.port, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {talk.key or talk.server.key}"}
        self._connection.request("GET", f"{CONVERSATIONS}/{talk.id}/answers/{answer_id}/events", headers=headers)
        self._reply = self._connection.getresponse()
        assert self._reply.status == 200

    def next_of(self, name: str) -> dict[str, Any]:
        """The data of the next event of this name."""
        while line := self._reply.readline():
            if line.strip() == f"event: {name}".encode():
                return json.loads(self._reply.readline().removeprefix(b"data: "))  # type: ignore[no-any-return]
        raise AssertionError(f"the stream ended without {name}")

    def hang_up(self) -> None:
        """Closes the connection."""
        self._reply.close()
        self._connection.close()


def upload(server: LiveServer, text: str, name: str = "a.txt", key: str = "") -> dict[str, Any]:
    """A document of plain text."""
    reply = ask(server, f"/v1/documents?name={name}", text.encode(), headers=RAW, key=key)
    assert reply.status == 200, reply.text
    return reply.json  # type: ignore[no-any-return]


def wait_for_state(talk: Talk, answer_id: str, state: str) -> dict[str, Any]:
    """The answer, once it is in this state."""

    def find() -> dict[str, Any] | None:
        found = talk.message(answer_id)
        return found if found["state"] == state else None

    return wait_for(find, f"an answer in the state {state}", PATIENCE)  # type: ignore[no-any-return]


def keys_of_others(server: LiveServer) -> dict[str, str]:
    """Keys of two other users: a colleague in the same workspace, and somebody of another one."""

    async def make() -> dict[str, str]:
        db = Database.open(None, server.home)
        async with db.read() as session:
            owner = await first_owner(session)
        mine = Owner(owner.workspace_id, owner.user_id)
        others = {
            "colleague": await colleague_of(db, mine),
            "stranger": await colleague_of(db, mine, workspace="Other"),
        }
        async with db.write() as session:
            keys = {
                name: (await create_key(session, other.workspace_id, other.user_id, name)).reveal()
                for name, other in others.items()
            }
        await db.close()
        return keys

    return asyncio.run(make())
