"""The messages of a conversation are a tree; what is shown is one branch of it, from its last message upwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import CTE, ColumnElement, Select, and_, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.conversations.errors import NotFoundError
from tramontane.conversations.tables import Conversation, ConversationMessage

_ALL = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a branch in the order of reading, with what else stands in the places of its messages."""

    messages: list[ConversationMessage]
    has_earlier: bool
    compared: list[ConversationMessage]
    siblings: dict[str, list[str]]  # by message: all ids of its place, itself included, the oldest first


async def find_message(session: AsyncSession, conversation_id: str, message_id: str) -> ConversationMessage:
    """Raises NotFoundError. Whose the conversation is is the caller's to see to."""
    found = await session.scalar(_messages(conversation_id).where(_is(message_id)))
    if found is None:
        raise NotFoundError("There is no such message in this conversation.")
    return found


async def branch(
    session: AsyncSession, conversation_id: str, head_id: str | None, limit: int
) -> tuple[list[ConversationMessage], bool]:
    """The last `limit` messages of the branch that ends at `head_id`, root first, and whether there are earlier ones.

    It climbs from the head, so that the length of the conversation does not matter.
    """
    if head_id is None or await session.scalar(_messages(conversation_id).where(_is(head_id))) is None:
        return [], False
    climbed = _climb(head_id, limit)
    # What is above a message of this conversation is of this conversation: to ask for that again would have SQLite
    # read all its messages. A parent was written before its children, so numbers are in the order of reading.
    shown = select(ConversationMessage).where(ConversationMessage.id.in_(select(climbed.c.id)))
    found = (await session.scalars(shown.order_by(ConversationMessage.number))).all()
    return list(found), bool(found) and found[0].parent_id is not None


def _climb(head_id: str, limit: int) -> CTE:
    """The ids of a branch from its head upwards.

    Each step is a subquery and not a join, for which PostgreSQL would read the whole table at each step.
    """
    climbed = select(literal(head_id).label("id"), literal(1).label("steps")).cte("climbed", recursive=True)
    parent = select(ConversationMessage.parent_id).where(ConversationMessage.id == climbed.c.id).scalar_subquery()
    return climbed.union_all(
        select(parent, climbed.c.steps + 1).where(climbed.c.id.is_not(None), climbed.c.steps < limit)
    )


async def read_page(session: AsyncSession, conversation: Conversation, before: str | None, limit: int) -> Page:
    """The end of the shown branch, or the piece that ends before a message; raises NotFoundError."""
    head_id = conversation.head_id
    if before is not None:
        head_id = (await find_message(session, conversation.id, before)).parent_id
    messages, has_earlier = await branch(session, conversation.id, head_id, limit)
    compared = await _compared_with(session, messages)
    siblings = await siblings_of(session, conversation.id, [*messages, *compared])
    return Page(messages, has_earlier, compared, siblings)


async def siblings_of(
    session: AsyncSession, conversation_id: str, messages: Iterable[ConversationMessage]
) -> dict[str, list[str]]:
    """By message: the ids of all messages in its place, the oldest first."""
    messages = list(messages)
    parents = {message.parent_id for message in messages}
    places: list[ColumnElement[bool]] = [ConversationMessage.parent_id.in_(parents - {None})]
    if None in parents:
        roots = and_(ConversationMessage.conversation_id == conversation_id, ConversationMessage.parent_id.is_(None))
        places.append(roots)
    by_parent: defaultdict[str | None, list[str]] = defaultdict(list)
    for place in places:  # one by one, so that each finds its index
        query = select(ConversationMessage.parent_id, ConversationMessage.id).where(place)
        for parent_id, message_id in await session.execute(query.order_by(ConversationMessage.number)):
            by_parent[parent_id].append(message_id)
    return {message.id: by_parent[message.parent_id] for message in messages}


async def newest_leaf(session: AsyncSession, conversation_id: str, message_id: str) -> str:
    """The message below this one, or this one itself, that was written last; raises NotFoundError."""
    top = await find_message(session, conversation_id, message_id)
    later = await session.execute(
        select(ConversationMessage.id, ConversationMessage.parent_id)
        .where(ConversationMessage.conversation_id == conversation_id, ConversationMessage.number > top.number)
        .order_by(ConversationMessage.number)
    )
    below, newest = {top.id}, top.id
    for child_id, parent_id in later:  # parents come before their children, so one pass finds all
        if parent_id in below:
            below.add(child_id)
            newest = child_id
    return newest


async def all_messages(session: AsyncSession, conversation_id: str) -> Sequence[ConversationMessage]:
    """The whole tree, parents before children."""
    return (await session.scalars(_messages(conversation_id).order_by(ConversationMessage.number))).all()


async def length_of_branch(session: AsyncSession, head_id: str) -> int:
    """How many messages a branch has."""
    climbed = _climb(head_id, _ALL)
    return await session.scalar(select(func.count()).select_from(climbed).where(climbed.c.id.is_not(None))) or 0


async def _compared_with(session: AsyncSession, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
    """The answers that stand side by side with one of these, without these."""
    ids = [message.id for message in messages]
    firsts = [message.compared_with for message in messages if message.compared_with is not None]
    beside = or_(
        ConversationMessage.compared_with.in_([*ids, *firsts]),
        ConversationMessage.id.in_(firsts),
    )
    place = ConversationMessage.parent_id.in_({message.parent_id for message in messages} - {None})
    found = select(ConversationMessage).where(place, beside, ConversationMessage.id.not_in(ids))
    return list((await session.scalars(found.order_by(ConversationMessage.number))).all())


def _messages(conversation_id: str) -> Select[ConversationMessage]:
    return select(ConversationMessage).where(ConversationMessage.conversation_id == conversation_id)


def _is(message_id: str) -> ColumnElement[bool]:
    return ConversationMessage.id == message_id
