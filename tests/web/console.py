"""What the tests of the console share: its pages and dialogs, and what an API key is answered."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.api.live import LiveServer
from tests.web.browsing import Window

MODEL = "tiny-15m"  # of the installation


def ask(live: LiveServer, key: str, model: str = MODEL) -> tuple[int, dict[str, Any], str]:
    """Status, body and route of a short question by an API key."""
    question = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Which winds are there?"}]}
    request = urllib.request.Request(
        f"{live.url}/v1/chat/completions",
        json.dumps(question).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply), reply.headers.get("x-tramontane-route", "")
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused), ""


def show(window: Window, page: str) -> None:
    """Loads a page of the console."""
    window.open(f"/console/{page}")
    window.page.get_by_role("heading", level=1).wait_for()


def move(window: Window, page: str) -> None:
    """Within the app, which is quicker than to load it again, until all that the page reads is there."""
    window.page.evaluate(
        "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }",
        f"/console/{page}",
    )
    window.until("() => document.querySelector('main h1') && !document.querySelector('main .loading, main .lazy')")


def dialog(window: Window, button: str) -> Any:
    """Presses a button, and waits for the dialog that it opens."""
    window.page.get_by_role("button", name=button, exact=True).click()
    found = window.page.get_by_role("dialog")
    found.wait_for()
    return found
