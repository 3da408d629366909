"""The pages in a real browser: Debian's Chromium, which loads nothing but what this server serves.

With TRAMONTANE_SCREENSHOTS set to a folder, screenshots are written there; `models.png` is docs/images/models.png.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.api.live import LiveServer, serve, write_spm_model, write_tekken_model
from tests.api.talking import ask

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

_ARGUMENTS = [
    "--no-sandbox", "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
_SIZES = {"wide": (1200, 900), "phone": (390, 844)}


@dataclass
class Window:
    """A page, and what a user should never see: errors on the console, and requests to anybody else."""

    page: Any
    home: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _note(self, kind: str, text: str) -> None:
        # The page asks whether somebody is signed in; that nobody is, the browser calls an error.
        if kind in ("error", "warning") and "401" not in text:
            self.errors.append(text)

    def open(self, path: str) -> None:
        self.page.goto(self.home + path, wait_until="networkidle")

    def is_as_wide_as_the_window(self) -> bool:
        """No scrolling to the side."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    def check(self) -> None:
        assert self.errors == []
        assert self.requests
        assert all(url.startswith(self.home) for url in self.requests)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("models")
    models = {"small": write_spm_model(folder / "small"), "magistral-tiny": write_tekken_model(folder / "v13", 13)}
    arguments = [f"--model={name}={path}" for name, path in models.items()]
    with serve(*arguments, "--kv-memory=64MiB", home=tmp_path_factory.mktemp("home")) as live:
        yield live


@pytest.fixture(scope="module")
def cookies(live: LiveServer, browser: Any) -> list[Any]:
    """Of a browser that has followed the printed link."""
    link = re.search(r"http://\S+/sign-in\?token=\S+", live.stdout.read_text())
    assert link is not None
    context = browser.new_context()
    page = context.new_page()
    page.goto(link[0], wait_until="networkidle")
    assert page.url == live.url + "/"  # the token is gone from the address
    found: list[Any] = context.cookies()
    context.close()
    return found


@pytest.fixture
def signed_out(live: LiveServer, browser: Any) -> Iterator[Window]:
    yield from window(live, browser, [])


@pytest.fixture(params=[("wide", "light"), ("wide", "dark"), ("phone", "light"), ("phone", "dark")], ids="-".join)
def signed_in(live: LiveServer, browser: Any, cookies: list[Any], request: pytest.FixtureRequest) -> Iterator[Window]:
    yield from window(live, browser, cookies, *request.param)


def window(
    live: LiveServer, browser: Any, cookies: list[Any], size: str = "wide", scheme: str = "light"
) -> Iterator[Window]:
    width, height = _SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.add_cookies(cookies)
    opened = Window(context.new_page(), live.url)
    opened.watch()
    yield opened
    context.close()


def screenshot(window: Window, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("TRAMONTANE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    window.page.screenshot(path=folder / f"{name}.png")


def test_who_is_signed_out_is_told_how_to_sign_in(signed_out: Window, tmp_path: Path) -> None:
    page = signed_out.page
    signed_out.open("/")
    assert page.locator("#signed-out").is_visible()
    assert "tramontane serve" in page.locator("#signed-out").inner_text()
    assert not page.locator("#models").is_visible()
    assert not page.locator("#sign-out").is_visible()
    screenshot(signed_out, "signed-out", tmp_path)
    signed_out.open("/?link=spent")
    assert "used before" in page.locator("#signed-out").inner_text()
    signed_out.open("/docs")
    assert "Sign in" in page.locator("#problem").inner_text()
    screenshot(signed_out, "docs-signed-out", tmp_path)
    signed_out.check()


def test_models_and_how_to_call_them(signed_in: Window, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    page, name = signed_in.page, request.node.callspec.id
    signed_in.open("/")
    page.locator("#examples pre").first.wait_for()
    rows = page.locator("#model-rows tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["small", "magistral-tiny"]
    assert all("ready" in row and "2,048 tokens" in row for row in rows)
    examples = page.locator("#examples pre").all_inner_texts()
    assert len(examples) == 3
    assert all(signed_in.home in example and '"small"' in example for example in examples)
    assert signed_in.is_as_wide_as_the_window()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 22, 28)"
    assert dark == name.endswith("dark")
    screenshot(signed_in, "models" if name == "wide-light" else f"models-{name}", tmp_path)
    if name.startswith("phone"):  # nothing of a model is beside the screen
        assert page.evaluate("(region => region.scrollWidth <= region.clientWidth)(document.querySelector('.scroll'))")
    signed_in.check()


def test_an_example_is_copied_and_runs(live: LiveServer, browser: Any, cookies: list[Any]) -> None:
    for opened in window(live, browser, cookies):
        opened.open("/")
        page = opened.page
        page.get_by_role("button", name="Copy the example for Python, mistralai").click()
        page.get_by_text("Copied").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        compile(copied, "example", "exec")
        assert "Mistral(" in copied
        assert live.key not in page.content()
        opened.check()


def test_routes_are_described(signed_in: Window, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    page = signed_in.page
    signed_in.open("/docs")
    routes = page.locator(".route summary code")
    routes.first.wait_for()
    paths = routes.all_inner_texts()
    assert {"/v1/chat/completions", "/v1/models", "/metrics"} <= set(paths)
    page.locator(".route", has_text="/v1/chat/completions").locator("summary").click()
    assert page.get_by_text("max_tokens", exact=True).first.is_visible()
    assert signed_in.is_as_wide_as_the_window()
    screenshot(signed_in, f"docs-{request.node.callspec.id}", tmp_path)
    signed_in.check()


def test_signing_out(live: LiveServer, browser: Any, cookies: list[Any]) -> None:
    """The last test here: it ends the session that the others use."""
    for opened in window(live, browser, cookies):
        opened.open("/")
        opened.page.get_by_role("button", name="Sign out").click()
        opened.page.locator("#signed-out").wait_for()
        assert not opened.page.locator("#models").is_visible()
        opened.open("/")
        assert opened.page.locator("#signed-out").is_visible()
        opened.check()


@pytest.mark.parametrize("path", ["/", "/docs", "/assets/page.js", "/nothing"])
def test_pages_may_load_nothing_from_elsewhere(live: LiveServer, path: str) -> None:
    headers = ask(live, path, key=None).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
