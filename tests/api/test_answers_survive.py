"""Answers when the server ends: in order, at the deadline, or killed in the middle of a word."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.api.conversing import Following, Talk, begin
from tests.api.live import LiveServer, serve, wait_for, write_spm_model
from tests.api.talking import PATIENCE
from tests.storage.places import Place, place
from tramontane.conversations.tables import ConversationMessage
from tramontane.storage.database import Database

__all__ = ["place"]

KV_MEMORY = "--kv-memory=16MiB"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spm_model(tmp_path_factory.mktemp("model"), max_context=16_384)


def stored(place: Place) -> list[ConversationMessage]:
    async def read(db: Database) -> list[ConversationMessage]:
        async with db.read() as session:
            return list(await session.scalars(select(ConversationMessage).order_by(ConversationMessage.number)))

    return place.run(read, upgrade=False)


def test_kill_9_loses_nothing_but_the_unfinished_answer(place: Place, model: Path) -> None:
    arguments = (f"--model=small={model}", KV_MEMORY)
    env = {"TRAMONTANE_DATABASE_URL": place.url} if place.url else {}

    with serve(*arguments, home=place.home, env=env, exit_status=-signal.SIGKILL) as live:
        talk = begin(live)
        talk.answered("Which wind is cold?")
        before = talk.page()["data"]
        talk.ask("", {"max_tokens": 16_000}, "PATCH")
        question, [answer] = talk.question("Which wind is warm?")
        reader = Following(talk, answer["id"])
        read = reader.next_of("delta")["content"]
        # What is there is kept now and then: wait until some of it is.
        kept = wait_for(lambda: stored(place)[-1].content, "the beginning of an answer", PATIENCE)
        live.process.send_signal(signal.SIGKILL)
        live.process.wait()
        reader.hang_up()

    with serve(*arguments, home=place.home, env=env) as live:
        talk = Talk(live, talk.id, "")
        messages = talk.page()["data"]
        assert messages[:2] == before
        assert messages[2] == question
        assert (messages[3]["id"], messages[3]["state"]) == (answer["id"], "interrupted")
        assert messages[3]["content"].startswith(kept)
        assert kept.startswith(read[: len(kept)])
        talk.ask("", {"max_tokens": 8}, "PATCH")
        talk.post(f"/answers/{answer['id']}/continue")
        done = talk.ended(answer["id"])
        assert done["state"] == "done"
        assert len(done["content"]) > len(messages[3]["content"])


def test_an_answer_that_nobody_follows_is_waited_for(model: Path, tmp_path: Path) -> None:
    with serve(f"--model=small={model}", KV_MEMORY, "--drain-seconds=60", home=tmp_path) as live:
        answer = begun_answer(live, max_tokens=300)
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(PATIENCE) == 0
    last = stored(Place(None, tmp_path))[-1]
    assert (last.id, last.state, last.completion_tokens) == (answer["id"], "done", 300)


def test_an_answer_that_takes_too_long_is_interrupted_and_kept(model: Path, tmp_path: Path) -> None:
    with serve(f"--model=small={model}", KV_MEMORY, "--drain-seconds=0.2", home=tmp_path) as live:
        answer = begun_answer(live, max_tokens=16_000)
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(PATIENCE) == 0
        assert not [line for line in live.log if line["level"] == "error" and "traceback" in line]
    last = stored(Place(None, tmp_path))[-1]
    assert (last.id, last.state, last.problem) == (answer["id"], "interrupted", None)
    assert last.content
    assert last.completion_tokens


def begun_answer(live: LiveServer, max_tokens: int) -> dict[str, Any]:
    """An answer of which something was written, and whose reader has gone."""
    talk = begin(live, max_tokens=max_tokens)
    _, [answer] = talk.question()
    reader = Following(talk, answer["id"])
    reader.next_of("delta")
    reader.hang_up()
    return answer
