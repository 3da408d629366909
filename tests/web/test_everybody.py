"""For everybody: five languages, light and dark, phones, keyboards, screen readers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.web.browsing import PHONE, ROOT, WIDE, Window, text_file

SAMPLES = json.loads((ROOT / "web" / "src" / "samples" / "samples.json").read_text(encoding="utf-8"))
MESSAGES = {
    language: json.loads((ROOT / "web" / "messages" / f"{language}.json").read_text(encoding="utf-8"))
    for language in SAMPLES
}

_NAME_OF_THE_FOCUSED = """() => {
    const focused = document.activeElement;
    return (focused.getAttribute('aria-label') || focused.innerText || focused.placeholder || '').trim();
}"""


ANSWERS = {
    "en": ["«three months» [1]", "«two years» [1]", "«1,440 euros» [1]"],
    "fr": ["«trois semaines» [1]", "«trois mois» [1]", "«1 440 euros» [1]"],
    "de": ["«30 Minuten» [1]", "«1. März 2025» [1]", "«1.440 Euro» [1]"],
    "es": ["«tres semanas» [1]", "«dos años» [1]", "«1.440 euros» [1]"],
    "it": ["«12 euro» [1]", "«tre mesi» [1]", "«1° marzo 2025» [1]"],
}


@pytest.mark.parametrize("language", SAMPLES)
def test_the_page_speaks_the_browsers_language_and_its_examples_work(
    open_window: Callable[..., Window], language: str, tmp_path: Path
) -> None:
    window = open_window(language)
    window.open()
    page, messages = window.page, MESSAGES[language]
    page.get_by_role("heading", name=messages["welcome"]).wait_for()
    assert page.evaluate("() => document.documentElement.lang") == language
    page.get_by_role("button", name=messages["send"]).wait_for()
    window.screenshot(f"welcome-{language}", tmp_path)
    for number, expected in enumerate(ANSWERS[language]):
        window.open()
        page.locator(".examples button").nth(number).click()
        answer = window.last_answer()
        assert answer.locator(".markdown").inner_text() == expected
        assert messages["given_title"] in answer.inner_text()


def test_another_language_is_chosen_and_remembered(window: Window) -> None:
    window.open()
    window.page.get_by_role("button", name="Preferences").click()
    window.page.get_by_label("Language").select_option("de")
    window.page.get_by_role("heading", name="Einstellungen").wait_for()
    window.page.reload()
    window.page.get_by_role("heading", name=MESSAGES["de"]["welcome"]).wait_for()


def views(window: Window) -> list[Callable[[], None]]:
    page = window.page

    def conversation() -> None:
        window.open()
        window.attach(text_file("notice.txt", "The shop opens at nine. The shop closes at six."))
        window.ask("When does the shop open?")
        window.last_answer()

    def citation() -> None:
        page.locator("button.citation").first.click()
        page.locator("aside mark").first.wait_for()

    def dialog(button: str) -> Callable[[], None]:
        def open_dialog() -> None:
            if page.locator("aside").count():
                page.keyboard.press("Escape")
            page.get_by_role("button", name=button).click()
            page.get_by_role("dialog").wait_for()

        return open_dialog

    def close() -> None:
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")

    def picker() -> None:
        page.locator(".picker > button").first.click()
        page.get_by_role("listbox").wait_for()

    return [
        lambda: window.open(),
        picker,
        conversation,
        citation,
        dialog("Settings of this conversation"),
        close,
        dialog("Share"),
        close,
        lambda: window.open("/library"),
        lambda: window.open("/models"),
    ]


@pytest.mark.parametrize(
    ("size", "scheme"), list(itertools.product((WIDE, PHONE), ("light", "dark"))), ids=lambda value: str(value)
)
def test_axe_finds_nothing_and_nothing_is_beside_the_screen(
    open_window: Callable[..., Window], size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    window = open_window(size=size, scheme=scheme)
    name = f"{'phone' if size == PHONE else 'wide'}-{scheme}"
    for number, show in enumerate(views(window)):
        show()
        assert window.violations() == [], number
        assert window.fits(), number
        window.screenshot(f"{name}-{number}", tmp_path)


def test_who_is_signed_out_is_told_how_to_sign_in(open_window: Callable[..., Window]) -> None:
    window = open_window(signed_in=False)
    window.expected = "401"
    window.open()
    assert "tramontane serve" in window.page.locator("main").inner_text()
    assert window.violations() == []
    window.open("/?link=spent")
    assert "used before" in window.page.locator("main").inner_text()


def test_who_is_signed_out_meanwhile_is_told_so_at_the_next_step(window: Window) -> None:
    window.expected = "401"
    window.open()
    window.page.context.clear_cookies()
    window.page.get_by_role("link", name="Library").click()
    window.page.get_by_role("heading", name="Sign in by the link").wait_for()


def test_everything_is_done_by_keyboard(window: Window) -> None:
    window.open()
    page = window.page
    page.keyboard.press("Control+/")
    page.get_by_role("heading", name="Keyboard shortcuts").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.matches('.composer textarea')")
    page.keyboard.type("Is anybody there?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Second line")
    page.keyboard.press("Enter")
    window.last_answer()
    assert page.locator(".said").inner_text() == "Is anybody there?\nSecond line"
    page.keyboard.press("ArrowUp")
    page.get_by_role("textbox", name="Edit the question").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="Edit the question").wait_for(state="detached")
    page.keyboard.press("Control+Shift+O")
    page.get_by_role("heading", name="What do you want to find out?").wait_for()
    # From the first Tab on, each thing that has the focus can be seen and has a name.
    page.locator("body").focus()
    seen = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        name = page.evaluate(_NAME_OF_THE_FOCUSED)
        assert name
        seen.add(name)
    assert len(seen) >= 10


def test_screen_readers_hear_an_answer(window: Window) -> None:
    window.open()
    window.attach(text_file("notice.txt", "The shop opens at nine. The shop closes at six."))
    window.ask("When does the shop open?")
    window.last_answer()
    window.until("() => document.querySelector('[aria-live=polite]').textContent.includes('The answer is complete.')")
    assert "«" in window.page.locator("[aria-live=polite]").first.text_content()
