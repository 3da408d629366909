"""An answer while it is written, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from tramontane.api.schemas.conversations import MessageBody
from tramontane.api.streams import event
from tramontane.conversations.writing import Writing


async def answer_events(
    first: MessageBody, writing: Writing | None, place: int, last: Callable[[], Awaitable[MessageBody | None]]
) -> AsyncIterator[bytes]:
    """What is there, what is added from `place` on, and the whole; nothing at the end of what was deleted meanwhile."""
    yield event(first.model_dump(mode="json"), "snapshot")
    if writing is not None:
        async for kind, added in writing.follow(place):
            yield event({kind: added}, "delta")
    if (whole := await last()) is not None:
        yield event(whole.model_dump(mode="json"), "end")
