"""How the writing of an answer is kept, whatever the database does meanwhile; models are played by a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.conversations.people import begin, owner_of_all
from tests.storage.places import Place
from tramontane.accounts.principal import Principal
from tramontane.conversations import answers as module
from tramontane.conversations.answers import Answers
from tramontane.conversations.asker import Asker
from tramontane.conversations.messages import find_message
from tramontane.conversations.store import delete_conversation
from tramontane.conversations.tables import ConversationMessage
from tramontane.gateway.answers import Event
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.gateway import Gateway
from tramontane.storage.database import Database
from tramontane.tokenizer.tool_calls import Text


class Script:
    """A model that says these words, then waits until it may end."""

    num_prompt_tokens, notes = 1, ()

    def __init__(self, words: Sequence[str] = ("The ", "mistral.")) -> None:
        self.may_end = asyncio.Event()
        self._words = list(words)

    def card(self, model: str, principal: Any = None) -> ModelCard:
        can = {"chat": True, "fim": False, "tools": False, "thinking": False}
        facts = {"owned_by": "", "description": "", "quantization": "none", "pooling": "", "tokenizer": ""}
        return ModelCard(model, created=0, max_context=1000, num_parameters=0, **facts, **can)

    async def count(self, *_: Any) -> int:
        return 1

    async def generate(self, *_: Any) -> Script:
        return self

    def __aiter__(self) -> Script:
        return self

    async def __anext__(self) -> Event:
        if self._words:
            return Event(0, [Text(self._words.pop(0))], num_tokens=1)
        await self.may_end.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        pass


class Flaky:
    """A database that refuses so many writes, and counts them all."""

    def __init__(self, db: Database) -> None:
        self.read, self._write = db.read, db.write
        self.refuses = self.num_writes = 0

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        self.num_writes += 1
        if self.refuses:
            self.refuses -= 1
            raise OSError("the disk is full")
        async with self._write() as session:
            yield session


class Scene:
    """A conversation in which a question was asked, and is being answered."""

    def __init__(self, db: Database) -> None:
        self.db, self.database, self.script, self.statuses = db, Flaky(db), Script(), list[int]()
        record: Callable[..., None] = lambda exchange, status, seconds: self.statuses.append(status)  # noqa: E731
        self.answers = Answers(cast(Database, self.database), cast(Gateway, self.script), record)

    async def ask(self) -> ConversationMessage:
        self.owner = await owner_of_all(self.db)
        self.conversation = await begin(self.db, self.owner)
        who = {"organisation_id": "o", "workspace_id": self.owner.workspace_id, "user_id": self.owner.user_id}
        key = {"credential_id": "k", "credential_name": "key"}
        asker = Asker(self.owner, Principal(**who, role="owner", cache_salt="salt", credential="key", **key))
        _, [answer] = await self.answers.ask(asker, self.conversation.id, "Which wind?", None, [])
        return answer

    async def stored(self, answer: ConversationMessage) -> ConversationMessage:
        async with self.db.read() as session:
            return await find_message(session, self.conversation.id, answer.id)


def test_the_end_of_an_answer_is_kept_once_the_database_works_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_END_TRIED_AFTER", (0, 0.01, 0.01, 0.01))

    async def scenario(db: Database) -> None:
        scene = Scene(db)
        answer = await scene.ask()
        scene.database.refuses = 3
        scene.script.may_end.set()
        await scene.answers.drained()
        kept = await scene.stored(answer)
        assert (kept.state, kept.content) == ("done", "The mistral.")
        assert scene.statuses == [200]

    place.run(scenario)


def test_an_answer_that_waits_asks_nothing_of_the_database(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAVED_EVERY", 0.01)

    async def scenario(db: Database) -> None:
        scene = Scene(db)
        answer = await scene.ask()
        async with asyncio.timeout(10):
            while not (await scene.stored(answer)).content:
                await asyncio.sleep(0.01)
        num_writes = scene.database.num_writes
        await asyncio.sleep(0.1)
        assert scene.database.num_writes == num_writes
        await scene.answers.stop(answer.id)
        assert (await scene.stored(answer)).state == "stopped"

    place.run(scenario)


def test_a_conversation_that_goes_before_its_answer_begins_is_no_failure(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(db: Database) -> None:
        scene = Scene(db)

        @asynccontextmanager
        async def read_too_late() -> AsyncIterator[AsyncSession]:
            async with db.write() as session:
                await delete_conversation(session, scene.owner, scene.conversation.id)
            async with db.read() as session:
                yield session

        scene.database.read = read_too_late
        await scene.ask()
        await scene.answers.drained()
        assert scene.statuses == [404]

    place.run(scenario)
    assert not [record for record in caplog.records if record.name == module.logger.name]
