"""The web app in a real browser: a window that notes whatever a user should never see, and the moves of a user."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
ARGUMENTS = [
    "--no-sandbox", "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, PHONE = (1280, 860), (390, 844)
PATIENCE = 30_000  # milliseconds: a machine may be busy


@dataclass
class Window:
    """A page, what came up on its console, and whom it asked."""

    page: Any
    home: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    expected: str = "$^"  # errors of the console that the test provokes

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.errors.append(text)

    def check(self) -> None:
        """No error, and no request to anybody else."""
        assert [error for error in self.errors if not re.search(self.expected, error)] == []
        assert all(url.startswith((self.home, "blob:", "data:")) for url in self.requests)

    def until(self, function: str, arg: Any = None) -> None:
        """Waits until a function of the page is true. (`wait_for_function` evaluates text, which the page forbids.)"""
        end = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(function, arg):
            assert time.monotonic() < end, f"{function} is still not true of {arg!r}"
            self.page.wait_for_timeout(25)

    # ── moves ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: str = "/") -> None:
        """Goes there, and waits for what is there."""
        self.page.goto(self.home + path)
        self.page.locator("main").wait_for()

    def choose_model(self, name: str, place: int = 0) -> None:
        """By the picker; the second one is there while two models are compared."""
        self.page.locator(".picker > button").nth(place).click()
        self.page.get_by_role("option", name=name).click()

    @property
    def field(self) -> Any:
        """Where one asks."""
        return self.page.locator(".composer textarea")

    def ask(self, question: str) -> None:
        """Types and sends."""
        self.field.fill(question)
        self.field.press("Enter")

    @property
    def answers(self) -> Any:
        """All answers of the thread."""
        return self.page.locator("article.answer")

    def last_answer(self, state: str | None = "done") -> Any:
        """The newest answer, once it has come to this state."""
        if state is None:
            return self.answers.last
        self.page.locator(f"article.answer[data-state={state}]").last.wait_for()
        self.until("state => [...document.querySelectorAll('article.answer')].at(-1)?.dataset.state === state", state)
        return self.answers.last

    def attach(self, *files: Path | dict[str, Any]) -> None:
        """Hands files to the field for files, and waits until they are read."""
        before = self.page.locator(".documents .name").count()
        self.page.locator(".composer input[type=file]").set_input_files(list(files))
        self.until("count => document.querySelectorAll('.documents .name').length >= count", before + len(files))

    # ── looks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def fits(self) -> bool:
        """No scrolling to the side."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    def screenshot(self, name: str, folder: Path) -> None:
        """With TRAMONTANE_SCREENSHOTS set to a folder, there."""
        place = Path(os.environ.get("TRAMONTANE_SCREENSHOTS") or folder)
        place.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=place / f"{name}.png")

    def violations(self) -> list[str]:
        """What axe finds wrong with the page as it stands."""
        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {violation['help']}: {[node['html'][:200] for node in violation['nodes'][:4]]}"
            for violation in found["violations"]
        ]


def text_file(name: str, text: str) -> dict[str, Any]:
    """A file that lies nowhere, as Playwright takes it."""
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}
