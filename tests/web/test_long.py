"""A conversation of 5,000 messages opens and scrolls like a short one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.api.live import LiveServer
from tests.conversations.people import begin, say
from tests.web.browsing import Window
from tramontane.accounts.owners import first_owner
from tramontane.conversations.owner import Owner
from tramontane.storage.database import Database

_MESSAGES = 5000
_WITHIN = 2.0  # seconds, on a machine that does other things too; a page of fifty messages takes a tenth


def in_a_thread(work: Coroutine[Any, Any, str]) -> str:
    """Playwright keeps a loop running in this thread: the database gets one of its own, in another."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def write_long_conversation(home: Path) -> str:
    db = Database.open(None, home)
    async with db.read() as session:
        owner = await first_owner(session)
    conversation = await begin(db, Owner(owner.workspace_id, owner.user_id), model="brise", title="Long")
    await say(db, conversation, [f"Message number {number}." for number in range(_MESSAGES)])
    await db.close()
    return conversation.id


def test_it_opens_at_its_end_and_scrolls_to_its_beginning(window: Window, live: LiveServer) -> None:
    conversation = in_a_thread(write_long_conversation(live.home))
    window.open()
    started = time.perf_counter()
    window.page.goto(f"{window.home}/c/{conversation}")
    window.page.get_by_text("Message number 4999.").wait_for()
    assert time.perf_counter() - started < _WITHIN
    assert window.page.locator("article").count() == 50
    assert window.page.get_by_text("Message number 4999.").is_visible()
    thread = window.page.get_by_test_id("thread")
    for _ in range(5):
        count = window.page.locator("article").count()
        first = window.page.locator("article").first.get_attribute("data-message")
        thread.evaluate("node => { node.scrollTop = 0 }")
        window.until("count => document.querySelectorAll('article').length > count", count)
        # What was being read stays where it was: something else than the new beginning is in sight.
        box = window.page.locator(f"[data-message='{first}']").bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 860
