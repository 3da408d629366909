"""What is kept of a question and its answers before a word is written, and what may not be asked now."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.conversations.errors import BusyError, NotFoundError, NothingToContinueError
from tramontane.conversations.messages import find_message
from tramontane.conversations.owner import Owner
from tramontane.conversations.store import find_conversation, title_of
from tramontane.conversations.tables import WRITING, Attachment, Conversation, ConversationMessage
from tramontane.errors import InvalidRequestError, QueueFullError
from tramontane.storage.base import now

MOST_AT_ONCE = 8
"""Answers of one user that are being written."""


async def keep_question(
    session: AsyncSession,
    owner: Owner,
    conversation_id: str,
    content: str,
    parent_id: str | None,
    models: Sequence[str],
) -> tuple[ConversationMessage, list[ConversationMessage]]:
    """A question and its answers to be. Raises NotFoundError, BusyError, InvalidRequestError or QueueFullError."""
    conversation = await find_conversation(session, owner, conversation_id, lock=True)
    if parent_id is not None:
        parent = await find_message(session, conversation.id, parent_id)
        if parent.author != "assistant":
            raise InvalidRequestError("parent_id", "A question follows an answer: its parent cannot be a question.")
        _refuse_if_written(parent)
    asked = list(dict.fromkeys(models)) or [conversation.model]
    await _refuse_too_many(session, owner, len(asked))
    question = ConversationMessage(conversation_id=conversation.id, parent_id=parent_id, author="user", content=content)
    session.add(question)
    await session.flush()
    answers = [await _answer_to_be(session, question, model) for model in asked]
    for answer in answers[1:]:
        answer.compared_with = answers[0].id
    _show(conversation, answers[0])
    conversation.title = conversation.title or title_of(content)
    return question, answers


async def keep_answer(
    session: AsyncSession, owner: Owner, conversation_id: str, question_id: str, model: str | None
) -> ConversationMessage:
    """One more answer to be; raises NotFoundError, BusyError, InvalidRequestError or QueueFullError."""
    conversation = await find_conversation(session, owner, conversation_id, lock=True)
    question = await find_message(session, conversation.id, question_id)
    if question.author != "user":
        raise InvalidRequestError("question_id", "Only a question can be answered: this is an answer.")
    model = model or conversation.model
    written = select(ConversationMessage.id).where(
        ConversationMessage.parent_id == question.id,
        ConversationMessage.state == "writing",
        ConversationMessage.model == model,
    )
    if await session.scalar(written.limit(1)) is not None:
        raise BusyError("This model is answering this question already: wait for it, or stop it.")
    await _refuse_too_many(session, owner, 1)
    answer = await _answer_to_be(session, question, model)
    _show(conversation, answer)
    return answer


async def keep_continuation(
    session: AsyncSession, owner: Owner, conversation_id: str, answer_id: str
) -> ConversationMessage:
    """An answer that is to go on in its place; raises NothingToContinueError and as `keep_answer` does."""
    conversation = await find_conversation(session, owner, conversation_id, lock=True)
    answer = await find_message(session, conversation.id, answer_id)
    if answer.author != "assistant":
        raise NotFoundError("There is no such answer in this conversation.")
    _refuse_if_written(answer)
    if not _can_go_on(answer) or await _is_of_quotes(session, conversation, answer):
        raise NothingToContinueError("This answer cannot be gone on with: ask for a new one.")
    child = select(ConversationMessage.id).where(ConversationMessage.parent_id == answer.id).limit(1)
    if await session.scalar(child) is not None:
        raise NothingToContinueError("The conversation has gone on after this answer: ask for a new one.")
    await _refuse_too_many(session, owner, 1)
    answer.state, answer.problem, answer.finish_reason = "writing", None, None
    answer.content = answer.content.rstrip(" ")  # as templates cut it, so that what follows fits on
    _show(conversation, answer)
    return answer


def _can_go_on(answer: ConversationMessage) -> bool:
    """An answer that was cut, with words to go on from."""
    if not answer.content.strip() or answer.tool_calls:
        return False
    return answer.state in ("stopped", "interrupted", "failed") or answer.finish_reason in ("length", "model_length")


async def _is_of_quotes(session: AsyncSession, conversation: Conversation, answer: ConversationMessage) -> bool:
    """Whether an answer has quotes, or would have: they are made under a grammar, which begins anew."""
    if answer.quotes or not conversation.quotes:
        return bool(answer.quotes)
    attached = select(Attachment.document_id).where(Attachment.conversation_id == conversation.id).limit(1)
    return bool(answer.given) or await session.scalar(attached) is not None


async def mark_interrupted(session: AsyncSession) -> None:
    """What was being written when the server ended will not be finished."""
    unfinished = update(ConversationMessage).where(WRITING)
    await session.execute(unfinished.values(state="interrupted"))


async def _answer_to_be(session: AsyncSession, question: ConversationMessage, model: str) -> ConversationMessage:
    answer = ConversationMessage(
        conversation_id=question.conversation_id,
        parent_id=question.id,
        author="assistant",
        state="writing",
        model=model,
    )
    session.add(answer)
    await session.flush()
    return answer


def _show(conversation: Conversation, answer: ConversationMessage) -> None:
    conversation.head_id, conversation.updated_at = answer.id, now()


def _refuse_if_written(message: ConversationMessage) -> None:
    if message.state == "writing":
        raise BusyError("This answer is still being written: wait for it, or stop it.")


async def _refuse_too_many(session: AsyncSession, owner: Owner, more: int) -> None:
    query = (
        select(func.count())
        .select_from(ConversationMessage)
        .join(Conversation, Conversation.id == ConversationMessage.conversation_id)
        .where(owner.owns(Conversation), WRITING)
    )
    if (await session.scalar(query) or 0) + more > MOST_AT_ONCE:
        raise QueueFullError(f"{MOST_AT_ONCE} of your answers are being written, as many as may be: wait for one.")
