"""Answers are written by the server, not by the request that asked: a closed tab loses nothing.

Each has a task that reads what the model writes, wakes whoever follows, and keeps what is there: now and then while it
is written, and at its end.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import update

from tramontane.conversations.asker import Asker
from tramontane.conversations.asking import keep_answer, keep_continuation, keep_question, mark_interrupted
from tramontane.conversations.errors import NoRoomError, NotFoundError
from tramontane.conversations.material import gather
from tramontane.conversations.prompting import prepare
from tramontane.conversations.tables import ConversationMessage, MessageState
from tramontane.conversations.writing import Writing
from tramontane.errors import (
    InvalidRequestError,
    ModelNotReadyError,
    NotAllowedError,
    PaymentRequiredError,
    QueueFullError,
    RateLimitedError,
    UnavailableError,
    UnknownModelError,
)
from tramontane.gateway.answers import Event
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.gateway import Gateway
from tramontane.gateway.requests import Generation
from tramontane.storage.database import Database
from tramontane.tokenizer.tool_calls import Text

logger = logging.getLogger(__name__)

ROUTE = "conversation answer"
"""What logs and metrics call the writing of an answer."""

_SAVED_EVERY = 1.0  # seconds
_END_TRIED_AFTER = (0, 1, 2, 4, 8, 16, 32)  # seconds

_STATUSES = {
    "invalid_model": 404,
    "not_found": 404,
    "rate_limited": 429,
    "model_not_ready": 503,
    "internal_server_error": 500,
    "no_money": 402,
    "no_price": 402,
    "cap_reached": 402,
    "no_route_allowed": 403,
    "model_not_allowed": 403,
    "no_route_available": 503,
    "ledger_unavailable": 503,
}
_STOPPED, _INTERRUPTED = 499, 503

Record = Callable[[Exchange, int, float], None]
"""Called when an answer has ended, with what a request would have had as its status, and with its seconds."""


class Answers:
    """The answers that this process is writing. Of several processes on one database only one may have this."""

    def __init__(self, database: Database, gateway: Gateway, record: Record) -> None:
        self._database, self._gateway, self._record = database, gateway, record
        self._writings: dict[str, Writing] = {}
        self._is_ending = False

    async def open(self) -> None:
        """Marks what an earlier process left unfinished."""
        async with self._database.write() as session:
            await mark_interrupted(session)

    def expect_end(self) -> None:
        """From now on answers that end without a reason of their own are interrupted, not failed."""
        self._is_ending = True

    async def drained(self) -> None:
        """Waits for all answers."""
        while self._writings:
            await asyncio.wait([writing.settled for writing in self._writings.values()])

    async def close(self) -> None:
        """Interrupts what is left."""
        self.expect_end()
        for writing in self._writings.values():
            writing.reading.cancel()
        await self.drained()

    # ── what users do ───────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(
        self, asker: Asker, conversation_id: str, content: str, parent_id: str | None, models: Sequence[str]
    ) -> tuple[ConversationMessage, list[ConversationMessage]]:
        """Keeps a question and begins its answers; raises as `keep_question` does."""
        async with self._database.write() as session:
            question, answers = await keep_question(session, asker.owner, conversation_id, content, parent_id, models)
        for answer in answers:
            self._begin(asker, answer)
        return question, answers

    async def answer_again(
        self, asker: Asker, conversation_id: str, question_id: str, model: str | None
    ) -> ConversationMessage:
        """Begins one more answer; raises as `keep_answer` does."""
        async with self._database.write() as session:
            answer = await keep_answer(session, asker.owner, conversation_id, question_id, model)
        self._begin(asker, answer)
        return answer

    async def go_on(self, asker: Asker, conversation_id: str, answer_id: str) -> ConversationMessage:
        """Goes on with an answer in its place; raises as `keep_continuation` does."""
        async with self._database.write() as session:
            answer = await keep_continuation(session, asker.owner, conversation_id, answer_id)
        self._begin(asker, answer)
        return answer

    async def stop(self, answer_id: str) -> None:
        """Ends an answer where it is, and waits until that is kept. Whose it is is the caller's to see to."""
        await self._stop([writing for writing in self._writings.values() if writing.message.id == answer_id])

    async def stop_conversation(self, conversation_id: str) -> None:
        """Ends all answers of a conversation. Whose it is is the caller's to see to."""
        writings = self._writings.values()
        await self._stop([writing for writing in writings if writing.message.conversation_id == conversation_id])

    def being_written(self, answer_id: str) -> Writing | None:
        """The answer, where it is being written here."""
        return self._writings.get(answer_id)

    # ── the task of one answer ──────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, asker: Asker, answer: ConversationMessage) -> None:
        exchange = Exchange(
            uuid.uuid4().hex, ROUTE, asker.owner.workspace_id, asker.principal.credential_name, stream=True
        )
        writing = Writing(answer)
        writing.reading = asyncio.create_task(self._read(asker, writing, exchange))
        writing.settled = asyncio.create_task(self._see_to_the_end(writing, exchange))
        self._writings[answer.id] = writing

    async def _read(self, asker: Asker, writing: Writing, exchange: Exchange) -> None:
        """Asks the model and takes in what it writes."""
        message = writing.message
        assert message.parent_id is not None  # an answer's question
        async with self._database.read() as session:
            material = await gather(session, asker.owner, message.conversation_id, message.parent_id)
        prepared = await prepare(self._gateway, asker.principal, exchange, message.model, material, message.content)
        message.given, message.not_given, message.left_out = prepared.given, prepared.not_given, prepared.left_out
        generation = Generation(exchange.id, prepared.chat, prepared.sampling, asker.principal.cache_salt)
        stream = await self._gateway.generate(asker.principal, message.model, generation, exchange)
        begun = message.content
        try:
            async for event in stream:
                begun = _without_beginning(event, begun)
                writing.add(event.parts)
                if event.quotes is not None:
                    writing.quotes = prepared.place_quotes(event.quotes)
        finally:
            await stream.aclose()

    async def _see_to_the_end(self, writing: Writing, exchange: Exchange) -> None:
        """Keeps what is read, until there is no more, and how it ended."""
        kept = 0
        while not (await asyncio.wait([writing.reading], timeout=_SAVED_EVERY))[0]:
            if writing.num_deltas > kept:  # one that waits for its turn asks nothing of the database
                kept = writing.num_deltas
                await self._keep(writing, {})
        state, problem = self._outcome(writing, exchange)
        try:
            await self._keep_end(writing, _ending(writing, exchange, state, problem))
        finally:
            if self._writings.get(writing.message.id) is writing:  # not one that goes on with it already
                del self._writings[writing.message.id]
            writing.end()
            status = {"stopped": _STOPPED, "interrupted": _INTERRUPTED, "done": 200}.get(state)
            status = status or _STATUSES.get(problem or "", 400)
            self._record(exchange, status, time.perf_counter() - exchange.started)

    async def _keep_end(self, writing: Writing, values: dict[str, Any]) -> None:
        """Tries again: what is never said to have ended could be neither gone on with nor asked for anew."""
        for pause in _END_TRIED_AFTER:
            await asyncio.sleep(pause)
            if await self._keep(writing, values) or self._is_ending:  # the next start marks what is left
                return

    async def _keep(self, writing: Writing, values: dict[str, Any]) -> bool:
        """Writes what is there so far, and says whether it could; what fails now may not fail the next time."""
        values = {**writing.so_far(), **values}
        try:
            async with self._database.write() as session:
                this = ConversationMessage.id == writing.message.id
                await session.execute(update(ConversationMessage).where(this).values(values))
        except Exception:
            logger.exception("what is there of an answer could not be kept")
            return False
        return True

    def _outcome(self, writing: Writing, exchange: Exchange) -> tuple[MessageState, str | None]:
        reading = writing.reading
        if reading.cancelled():
            return ("stopped" if writing.stopped else "interrupted"), None
        error = reading.exception()
        if error is None and exchange.finish_reasons != ["error"]:
            return "done", None
        if self._is_ending:
            return "interrupted", None
        problem = "internal_server_error" if error is None else _problem(error)
        if error is not None:
            exchange.failure = type(error).__name__
            if problem == "internal_server_error":
                logger.error("an answer failed", exc_info=error)
        return "failed", problem

    async def _stop(self, writings: Sequence[Writing]) -> None:
        for writing in writings:
            writing.stopped = True
            writing.reading.cancel()
        if writings:
            await asyncio.wait([writing.settled for writing in writings])


def _without_beginning(event: Event, begun: str) -> str:
    """Takes the beginning of a continued answer out of its first event, where providers repeat it."""
    if begun and event.parts:
        first = event.parts[0]
        if isinstance(first, Text) and first.text.startswith(begun):
            event.parts[0] = Text(first.text[len(begun) :])
        return ""
    return begun


def _ending(writing: Writing, exchange: Exchange, state: MessageState, problem: str | None) -> dict[str, Any]:
    """The columns that an answer has once it has ended."""
    written_before = writing.message.completion_tokens or 0
    return {
        "state": state,
        "problem": problem,
        "finish_reason": exchange.finish_reasons[-1] if exchange.finish_reasons else None,
        "quotes": writing.quotes or [],
        "prompt_tokens": exchange.prompt_tokens or None,
        "completion_tokens": written_before + exchange.completion_tokens,
        "first_token_seconds": exchange.time_to_first_token,
        "tokens_per_second": exchange.tokens_per_second,
    }


def _problem(error: BaseException) -> str:
    """The type of an error, as a refused request would have it."""
    match error:
        case UnknownModelError():
            return "invalid_model"
        case NotFoundError():  # the conversation was deleted as the answer began
            return "not_found"
        case ModelNotReadyError():
            return "model_not_ready"
        case QueueFullError() | RateLimitedError():
            return "rate_limited"
        case NotAllowedError() | PaymentRequiredError() | UnavailableError():
            return error.kind
        case NoRoomError():
            return "document_no_room"
        case InvalidRequestError():
            return "invalid_request_error"
    return "internal_server_error"
