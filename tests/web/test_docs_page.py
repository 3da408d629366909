"""The page that describes the API; what pages may load; signing out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.live import LiveServer, serve
from tests.api.talking import ask
from tests.web.browsing import PHONE, WIDE, Window
from tests.web.conftest import sign_in


@pytest.mark.parametrize(("size", "scheme"), list(itertools.product((WIDE, PHONE), ("light", "dark"))), ids=str)
def test_routes_are_described(
    open_window: Callable[..., Window], size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    window = open_window(size=size, scheme=scheme)
    window.open("/docs")
    routes = window.page.locator(".route summary code")
    routes.first.wait_for()
    assert {"/v1/chat/completions", "/v1/conversations", "/metrics"} <= set(routes.all_inner_texts())
    window.page.locator(".route", has_text="/v1/chat/completions").locator("summary").click()
    assert window.page.get_by_text("max_tokens", exact=True).first.is_visible()
    assert window.fits()
    window.screenshot(f"docs-{scheme}-{size[0]}", tmp_path)


def test_routes_are_described_to_who_is_signed_in(open_window: Callable[..., Window]) -> None:
    window = open_window(signed_in=False)
    window.expected = "401"
    window.open("/docs")
    window.page.locator("#problem", has_text="Sign in").wait_for()


def test_an_example_of_the_models_page_is_copied_and_compiles(window: Window, live: LiveServer) -> None:
    window.open("/models")
    window.page.locator("article", has_text="brise").get_by_text("Call it from a program").click()
    window.page.get_by_role("button", name="Copy: Python, mistralai").first.click()
    window.page.get_by_text("Copied").wait_for()
    copied = window.page.evaluate("() => navigator.clipboard.readText()")
    compile(copied, "example", "exec")
    assert "Mistral(" in copied
    assert live.key not in window.page.content()


@pytest.mark.parametrize("path", ["/", "/c/x", "/shared/x", "/docs", "/assets/docs.js", "/nothing"])
def test_pages_may_load_nothing_from_elsewhere(live: LiveServer, path: str) -> None:
    headers = ask(live, path, key=None).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_signing_out(models: list[str], browser: Any, tmp_path: Path) -> None:
    with serve(*models, home=tmp_path) as live:
        context = browser.new_context(locale="en-GB")
        context.add_cookies(sign_in(live, browser))
        window = Window(context.new_page(), live.url, expected="401")
        window.open()
        window.page.get_by_role("button", name="Preferences").click()
        window.page.get_by_role("button", name="Sign out").click()
        window.page.get_by_role("heading", name="Sign in by the link").wait_for()
        window.check()
        context.close()
