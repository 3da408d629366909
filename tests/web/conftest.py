"""A server with brise and two models of random weights, and browsers that are signed in to it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.api.live import LiveServer, serve
from tests.tokenizers import SPM_V3
from tests.web.browsing import ARGUMENTS, PHONE, WIDE, Window
from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.random_weights import RandomWeights

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

LANGUAGES = {"en": "en-GB", "fr": "fr-FR", "de": "de-DE", "es": "es-ES", "it": "it-IT"}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments for a server: brise, which answers from documents, and "talker", which talks on, and not too fast."""
    config = ModelConfig(
        dim=256, num_layers=16, num_heads=4, num_kv_heads=4, head_dim=64, ffn_dim=1024, vocab_size=32_768,
        max_context=4096,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "talker"
    save_checkpoint(folder, config, RandomWeights(config).read, layout="native", dtype=torch.bfloat16)
    shutil.copy(SPM_V3, folder / "tokenizer.model.v3")
    return ["--model=brise", f"--model=talker={folder}", "--kv-memory=512MiB"]


@pytest.fixture(scope="session")
def live(models: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serve(*models, home=tmp_path_factory.mktemp("home")) as live:
        yield live


def sign_in(live: LiveServer, browser: Any) -> list[Any]:
    """The cookies of a browser that has followed the printed link."""
    link = re.search(r"http://\S+/sign-in\?token=\S+", live.stdout.read_text())
    assert link is not None
    context = browser.new_context()
    page = context.new_page()
    page.goto(link[0])
    page.locator(".composer textarea").wait_for()
    assert page.url == live.url + "/"  # the token is gone from the address
    found: list[Any] = context.cookies()
    context.close()
    return found


@pytest.fixture(scope="session")
def cookies(live: LiveServer, browser: Any) -> list[Any]:
    return sign_in(live, browser)


@contextmanager
def opening(live: LiveServer, browser: Any, cookies: list[Any]) -> Iterator[Callable[..., Window]]:
    """Opens windows of any size, language and scheme, and checks each at the end."""
    contexts: list[Any] = []
    windows: list[Window] = []

    def open_one(
        language: str = "en", size: tuple[int, int] = WIDE, scheme: str = "light", signed_in: bool = True
    ) -> Window:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            locale=LANGUAGES[language],
            has_touch=size == PHONE,
            permissions=["clipboard-read", "clipboard-write"],
        )
        if signed_in:
            context.add_cookies(cookies)
        contexts.append(context)
        windows.append(Window(context.new_page(), live.url))
        return windows[-1]

    yield open_one
    for window in windows:
        window.check()
    for context in contexts:
        context.close()


@pytest.fixture
def open_window(live: LiveServer, browser: Any, cookies: list[Any]) -> Iterator[Callable[..., Window]]:
    with opening(live, browser, cookies) as open_one:
        yield open_one


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose accounts, models and money the tests of the console may change, with a model of random weights."""
    home = tmp_path_factory.mktemp("installation")
    with serve("--model=random:tiny-15m", "--kv-memory=256MiB", home=home) as live:
        yield live


@pytest.fixture(scope="session")
def owner(installation: LiveServer, browser: Any) -> list[Any]:
    """The cookies of the installation's first owner."""
    return sign_in(installation, browser)


@pytest.fixture
def open_console(installation: LiveServer, browser: Any, owner: list[Any]) -> Iterator[Callable[..., Window]]:
    with opening(installation, browser, owner) as open_one:
        yield open_one


@pytest.fixture
def window(open_window: Callable[..., Window]) -> Window:
    return open_window()


@pytest.fixture
def three_documents(tmp_path: Path) -> list[Path]:
    texts = {
        "rules.txt": "The library is open from Tuesday to Saturday. A book may be kept for three weeks.",
        "contract.md": "# Contract\n\nThe rent is 720 euros a month. The notice is three months.",
        "prices.csv": "item,price\ncard,12 euros\nfilm,3 euros\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / name for name in texts]
