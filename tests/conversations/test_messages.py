"""The tree of messages: branches, what stands in one place, and which leaf a branch leads to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select

from tests.conversations.people import begin, owner_of_all, say
from tests.storage.places import Place
from tramontane.conversations.errors import NotFoundError
from tramontane.conversations.messages import branch, length_of_branch, newest_leaf, read_page, siblings_of
from tramontane.conversations.store import change_conversation, delete_conversation, find_conversation
from tramontane.conversations.tables import Conversation, ConversationMessage
from tramontane.storage.base import new_id
from tramontane.storage.database import Database

MANY = 5000
PROMPT = 0.1  # seconds


def test_a_branch_is_read_in_pages_from_its_end(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        conversation = await begin(db, owner)
        said = [message.id for message in await say(db, conversation, [str(n) for n in range(8)])]
        async with db.read() as session:
            found = await find_conversation(session, owner, conversation.id)
            page = await read_page(session, found, None, 3)
            assert [message.id for message in page.messages] == said[5:]
            assert page.has_earlier
            page = await read_page(session, found, said[5], 5)
            assert [message.id for message in page.messages] == said[:5]
            assert not page.has_earlier
            assert (await read_page(session, found, said[0], 5)).messages == []
            with pytest.raises(NotFoundError):
                await read_page(session, found, new_id(), 5)

    place.run(scenario)


def test_an_edited_question_is_a_sibling_and_both_branches_stay(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        conversation = await begin(db, owner)
        first = await say(db, conversation, ["q1", "a1", "q2", "a2"])
        second = await say(db, conversation, ["q2, edited", "a2, new"], first[1].id)
        async with db.write() as session:
            changed = await change_conversation(session, owner, conversation.id, {"head_id": first[2].id})
            assert changed.head_id == first[3].id
            changed = await change_conversation(session, owner, conversation.id, {"head_id": first[0].id})
            assert changed.head_id == second[1].id  # the newest leaf of all below
            page = await read_page(session, changed, None, 50)
        assert [message.content for message in page.messages] == ["q1", "a1", "q2, edited", "a2, new"]
        assert page.siblings[second[0].id] == [first[2].id, second[0].id]
        assert page.siblings[first[0].id] == [first[0].id]

    place.run(scenario)


def test_answers_side_by_side_come_with_the_page_of_either(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        conversation = await begin(db, owner)
        question, left = await say(db, conversation, ["q", "left"])
        async with db.write() as session:
            right = ConversationMessage(
                conversation_id=conversation.id,
                parent_id=question.id,
                author="assistant",
                content="right",
                compared_with=left.id,
            )
            alone = ConversationMessage(conversation_id=conversation.id, parent_id=question.id, author="assistant")
            session.add_all([right, alone])
        for shown, beside in ((left, [right.id]), (right, [left.id]), (alone, [])):
            async with db.write() as session:
                found = await change_conversation(session, owner, conversation.id, {"head_id": shown.id})
                page = await read_page(session, found, None, 50)
            assert [message.id for message in page.compared] == beside

    place.run(scenario)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_tree(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Against a tree of Python lists: branches, places, newest leaves and lengths."""
    parents = [None] + [
        data.draw(st.one_of(st.none(), st.integers(0, number - 1)))
        for number in range(1, data.draw(st.integers(1, 24)))
    ]

    def path_of(number: int | None) -> list[int]:
        return [] if number is None else [*path_of(parents[number]), number]

    async def scenario(db: Database) -> None:
        conversation = await begin(db, await owner_of_all(db))
        ids = [new_id() for _ in parents]
        async with db.write() as session:
            for number, parent in enumerate(parents):
                parent_id = None if parent is None else ids[parent]
                author = "assistant" if len(path_of(number)) % 2 == 0 else "user"
                row = {"id": ids[number], "parent_id": parent_id, "author": author}
                session.add(ConversationMessage(conversation_id=conversation.id, **row))
                await session.flush()
        async with db.read() as session:
            for number in range(len(parents)):
                path = path_of(number)
                limit = data.draw(st.integers(1, 8))
                found, has_earlier = await branch(session, conversation.id, ids[number], limit)
                assert [message.id for message in found] == [ids[step] for step in path[-limit:]]
                assert has_earlier == (len(path) > limit)
                assert await length_of_branch(session, ids[number]) == len(path)
                below = [other for other in range(len(parents)) if number in path_of(other)]
                assert await newest_leaf(session, conversation.id, ids[number]) == ids[max(below)]
                places = await siblings_of(session, conversation.id, found)
                for message in found:
                    parent = parents[ids.index(message.id)]
                    assert places[message.id] == [ids[n] for n, other in enumerate(parents) if other == parent]

    Place(None, tmp_path_factory.mktemp("tree")).run(scenario)


def test_a_long_conversation_opens_at_once_and_goes_at_once(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        conversation = await begin(db, owner)
        ids = [new_id() for _ in range(MANY)]
        rows = [
            {
                "id": ids[number],
                "conversation_id": conversation.id,
                "parent_id": ids[number - 1] if number else None,
                "author": "assistant" if number % 2 else "user",
                "content": f"Message {number}. " + "The wind blows. " * 30,
            }
            for number in range(MANY)
        ]
        async with db.write() as session:
            await session.execute(insert(ConversationMessage), rows)
            (await session.get_one(Conversation, conversation.number)).head_id = ids[-1]
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            async with db.read() as session:
                found = await find_conversation(session, owner, conversation.id)
                page = await read_page(session, found, None, 50)
            seconds.append(time.perf_counter() - begun)
        assert [message.id for message in page.messages] == ids[-50:]
        assert min(seconds) < PROMPT, seconds
        async with db.read() as session:
            assert await newest_leaf(session, conversation.id, ids[0]) == ids[-1]
            assert await length_of_branch(session, ids[-1]) == MANY
        async with db.write() as session:
            await delete_conversation(session, owner, conversation.id)
        async with db.read() as session:
            assert await session.scalar(select(func.count()).select_from(ConversationMessage)) == 0

    place.run(scenario)


def test_a_message_of_another_conversation_is_none_of_this_one(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        mine, other = await begin(db, owner), await begin(db, owner)
        there = (await say(db, other, ["q", "a"]))[1]
        async with db.write() as session:
            with pytest.raises(NotFoundError):
                await change_conversation(session, owner, mine.id, {"head_id": there.id})
            assert await branch(session, mine.id, there.id, 10) == ([], False)

    Place(None, tmp_path).run(scenario)
