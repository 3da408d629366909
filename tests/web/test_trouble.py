"""When things go wrong: the page says so in words, nothing that was written is lost, and there is a way on."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.api.live import LiveServer, serve, wait_for
from tests.web.browsing import Window
from tests.web.conftest import sign_in

_PLACES = 300  # more than the engine has for sequences


@pytest.fixture
def fresh_window(browser: Any) -> Any:
    """Opens a window that is signed in to another server."""
    contexts = []

    def open_one(live: LiveServer) -> Window:
        context = browser.new_context(locale="en-GB")
        context.add_cookies(sign_in(live, browser))
        contexts.append(context)
        return Window(context.new_page(), live.url)

    yield open_one
    for context in contexts:
        context.close()


def test_a_server_killed_in_mid_stream_loses_only_the_unfinished_answer(
    models: list[str], fresh_window: Callable[[LiveServer], Window], tmp_path: Path
) -> None:
    with serve(*models, home=tmp_path / "home", exit_status=None) as live:
        window = fresh_window(live)
        window.open()
        window.choose_model("talker")
        window.ask("First question")
        window.until("() => document.querySelector('article.answer .markdown')?.textContent.length > 10")
        window.page.get_by_role("button", name="Stop").click()
        window.last_answer("stopped")
        window.ask("Second question")
        window.until("() => document.querySelectorAll('article.answer .markdown').length === 2")
        wait_for(lambda: "writing" in _states(window), "an answer that is being written")
        port = live.port
        live.process.send_signal(signal.SIGKILL)
        live.process.wait()
        window.page.get_by_text("The connection to the server is lost.").wait_for()
        with serve(*models, "--port", str(port), home=tmp_path / "home"):
            window.page.get_by_text("The connection to the server is lost.").wait_for(state="detached")
            interrupted = window.last_answer("interrupted")
            assert "The server ended before this answer was finished." in interrupted.inner_text()
            assert window.page.locator(".said").all_inner_texts() == ["First question", "Second question"]
            window.page.reload()
            window.last_answer("interrupted")
            assert window.answers.count() == 2
            window.page.get_by_role("button", name="Try again").click()
            window.page.locator("article.answer[data-state=writing]").wait_for()
            window.page.get_by_role("button", name="Stop").click()
            window.last_answer("stopped")


def _states(window: Window) -> list[str]:
    found: list[str] = window.page.evaluate(
        "() => [...document.querySelectorAll('article.answer')].map(one => one.dataset.state)"
    )
    return found


def test_a_lost_connection_keeps_what_was_typed(window: Window) -> None:
    window.expected = "ERR_INTERNET_DISCONNECTED"
    window.open()
    window.page.context.set_offline(True)
    window.ask("Does anybody hear me?")
    window.page.get_by_role("alert").get_by_text("The server cannot be reached.").wait_for()
    assert window.field.input_value() == "Does anybody hear me?"
    window.page.context.set_offline(False)
    window.page.get_by_role("button", name="Dismiss").click()
    window.field.press("Enter")
    window.last_answer()


def test_a_page_that_finds_no_server_has_a_way_on(window: Window) -> None:
    window.expected = "ERR_FAILED"
    window.page.route("**/v1/me", lambda route: route.abort())
    window.page.goto(window.home)
    window.page.get_by_text("The server cannot be reached.").first.wait_for()
    window.page.unroute("**/v1/me")
    window.page.get_by_role("button", name="Try again").click()
    window.field.wait_for()


def test_a_full_queue_says_so_and_the_question_is_kept(
    models: list[str], fresh_window: Callable[[LiveServer], Window], tmp_path: Path
) -> None:
    with serve(*models, "--max-queue=0", "--kv-memory=24MiB", home=tmp_path / "home") as live, ExitStack() as crowd:
        window = fresh_window(live)
        window.open()
        window.choose_model("talker")
        for _ in range(_PLACES):  # most wait for memory, and take places while they do
            crowd.enter_context(closing(_ask_for_a_long_answer(live)))
        wait_for(lambda: _is_full(live), "a full queue", 60)
        window.ask("And to me.")
        failed = window.last_answer("failed")
        assert re.search(r"Too many questions are waiting. Try again in \d+\ss", failed.inner_text())
        assert window.page.locator(".said", has_text="And to me.").is_visible()
        crowd.close()
        window.page.get_by_role("button", name="Try again").click()
        window.page.locator("article.answer[data-state=writing]").wait_for()
        window.page.get_by_role("button", name="Stop").click()
        window.last_answer("stopped")


def _ask_for_a_long_answer(live: LiveServer) -> http.client.HTTPConnection:
    """A connection on which a question was sent; its answer is not read."""
    body = {"model": "talker", "messages": [{"role": "user", "content": "Talk."}], "max_tokens": 3000, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", live.port)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {live.key}"})
    return connection


def _is_full(live: LiveServer) -> bool:
    with closing(_ask_for_a_long_answer(live)) as connection:
        return connection.getresponse().status == 429


def test_a_model_that_is_still_loading_says_how_far_it_is(window: Window) -> None:
    """What the page does with such a model; that the server says so is tested where models load."""

    def loading(route: Any) -> None:
        reply = route.fetch()
        body = reply.json()
        for card in body["data"]:
            card |= {"state": "loading", "progress": 0.25}
        route.fulfill(response=reply, json=body)

    window.page.route("**/v1/models", loading)
    window.open()
    window.page.get_by_text("brise: being loaded: 25%").wait_for()
    assert window.page.locator(".examples button").first.is_disabled()
    window.page.unroute("**/v1/models")
    window.page.get_by_text("brise: being loaded").wait_for(state="detached")
    assert window.page.locator(".examples button").first.is_enabled()


def test_chromium_is_there() -> None:
    """The tests of the page are skipped where there is none: then this says so in the last lines."""
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed, so the web app was not tested: apt-get install chromium")
