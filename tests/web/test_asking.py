"""A first visit, a question, and everything that can be done with an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.web.browsing import Window, text_file

BRISE = "brise"


def talk(window: Window, question: str = "Talk to me.") -> None:
    window.choose_model("talker")
    window.ask(question)


def test_a_first_visit_says_what_this_is_and_an_example_works(window: Window, tmp_path: Path) -> None:
    window.open()
    page = window.page
    assert "brise is a small model" in page.locator(".welcome").inner_text()
    assert "You are talking to an AI" in page.locator(".composer").inner_text()
    window.screenshot("welcome", tmp_path)
    page.locator(".examples button").first.click()
    answer = window.last_answer()
    assert "«" in answer.inner_text()
    assert page.locator(".documents .name").count() == 1
    assert re.search(r"/c/[0-9a-f]{32}$", page.url)
    assert answer.locator("button.citation").count() >= 1
    window.screenshot("example", tmp_path)


def test_an_answer_streams_and_is_stopped(window: Window) -> None:
    window.open()
    talk(window)
    answer = window.answers.last
    window.until("() => document.querySelector('article.answer .markdown')?.textContent.length > 20")
    assert answer.get_attribute("data-state") == "writing"
    first = len(answer.inner_text())
    window.until("n => document.querySelector('article.answer').innerText.length > n", first)
    window.page.get_by_role("button", name="Stop").click()
    window.last_answer("stopped")
    assert "You stopped this answer." in answer.inner_text()


def test_an_answer_is_written_anew_and_both_can_be_read(window: Window) -> None:
    window.open()
    talk(window)
    window.until("() => document.querySelector('article.answer .markdown')?.textContent.length > 20")
    window.page.keyboard.press("Escape")
    one = window.last_answer("stopped").get_attribute("data-message")
    window.page.get_by_role("button", name="Answer anew", exact=True).click()
    window.until("id => document.querySelector('article.answer').dataset.message !== id", one)
    window.page.get_by_role("button", name="Stop").click()
    window.last_answer("stopped")
    assert window.page.get_by_role("img", name="Version 2 of 2").is_visible()
    window.page.get_by_role("button", name="Previous version").click()
    window.until("id => document.querySelector('article.answer').dataset.message === id", one)
    assert window.page.get_by_role("img", name="Version 1 of 2").is_visible()


def test_a_question_is_changed_and_the_old_branch_is_kept(window: Window) -> None:
    window.open()
    window.choose_model("talker")
    for question in ("First question", "Second question"):
        window.ask(question)
        window.until("() => document.querySelectorAll('article.answer .markdown').length > 0")
        window.page.get_by_role("button", name="Stop").click()
        window.last_answer("stopped")
    questions = window.page.locator("article.question")
    questions.first.hover()
    questions.first.get_by_role("button", name="Edit the question").click()
    window.page.get_by_role("textbox", name="Edit the question").fill("First question, put better")
    window.page.get_by_role("button", name="Ask", exact=True).click()
    window.page.get_by_role("button", name="Stop").click()
    window.last_answer("stopped")
    assert [text.strip() for text in questions.locator(".said").all_inner_texts()] == ["First question, put better"]
    questions.first.hover()
    questions.first.get_by_role("button", name="Previous version").click()
    window.page.get_by_text("Second question").wait_for()
    assert questions.locator(".said").all_inner_texts() == ["First question", "Second question"]


def test_a_stopped_answer_goes_on_where_it_was(window: Window) -> None:
    window.open()
    talk(window)
    window.until("() => document.querySelector('article.answer .markdown')?.textContent.length > 20")
    window.page.get_by_role("button", name="Stop").click()
    window.last_answer("stopped")
    source = window.page.evaluate("document.querySelector('article.answer').innerText.slice(0, 15)")
    window.page.get_by_role("button", name="Go on", exact=True).click()
    window.page.locator("article.answer[data-state=writing]").wait_for()
    window.page.get_by_role("button", name="Stop").click()
    window.last_answer("stopped")
    assert window.page.evaluate("document.querySelector('article.answer').innerText").startswith(source)
    assert window.answers.count() == 1


def test_figures_are_shown_on_demand_and_an_answer_is_copied(window: Window) -> None:
    window.open()
    window.attach(text_file("notice.txt", "The shop opens at nine. The shop closes at six."))
    window.ask("When does the shop open?")
    answer = window.last_answer()
    assert not window.page.locator(".figures").is_visible()
    answer.get_by_role("button", name="Figures").click()
    assert re.search(r"\d+ tokens read, \d+ written", window.page.locator(".figures").inner_text())
    assert "first word after" in window.page.locator(".figures").inner_text()
    answer.get_by_role("button", name="Copy").first.click()
    window.page.get_by_text("Copied").first.wait_for()
    assert "«" in window.page.evaluate("navigator.clipboard.readText()")


def test_another_conversation_opens_at_its_end_and_without_the_document_of_the_last(window: Window) -> None:
    window.open()
    window.attach(text_file("notice.txt", "The shop opens at nine. The shop closes at six."))
    for count in range(2, 14, 2):
        window.ask("When does the shop open?")
        window.until("count => document.querySelectorAll('article').length === count", count)
        window.last_answer()
    page = window.page
    long = page.url.removeprefix(window.home)
    page.locator(".documents .name").click()
    page.locator("aside").wait_for()
    page.get_by_role("button", name="New conversation").click()
    page.locator("aside").wait_for(state="detached")
    window.ask("A question of another conversation")
    window.last_answer()
    page.go_back()
    page.wait_for_url(window.home + long)
    window.until("() => document.querySelectorAll('article').length === 12")
    thread = page.get_by_test_id("thread")
    below = "(node => node.scrollHeight - node.scrollTop - node.clientHeight)(document.querySelector('.thread'))"
    window.until(f"() => {below} < 5")
    thread.evaluate("node => { node.scrollTop = 0 }")
    page.get_by_role("button", name="To the end").wait_for()
    page.go_forward()
    page.locator(".said", has_text="A question of another conversation").wait_for()
    page.get_by_role("button", name="To the end").wait_for(state="detached")


def test_two_models_answer_side_by_side(window: Window, tmp_path: Path) -> None:
    window.open()
    window.attach(text_file("notice.txt", "The shop opens at nine. The shop closes at six."))
    window.page.get_by_role("button", name="Compare two models").click()
    assert window.page.locator(".picker > button").count() == 2
    window.ask("When does the shop open?")
    window.until("() => document.querySelectorAll('article.answer[data-state=done]').length === 2")
    assert sorted(window.answers.locator("header b").all_inner_texts()) == ["brise", "talker"]
    assert all("tokens read" in text for text in window.page.locator(".figures").all_inner_texts())
    window.screenshot("compare", tmp_path)
    chosen = window.page.locator("article.is-chosen").get_attribute("data-message")
    window.page.get_by_role("button", name="Go on with this answer").click()
    window.until("id => document.querySelector('article.is-chosen').dataset.message !== id", chosen)


def test_settings_hold_and_a_preset_is_kept_and_taken(window: Window) -> None:
    window.open()
    page = window.page
    page.get_by_role("button", name="Settings of this conversation").click()
    page.get_by_label("System prompt").fill("Answer like a sailor.")
    page.get_by_label("Tokens of an answer at most").fill("7")
    page.get_by_label("Name of the preset").fill("Sailor")
    page.get_by_role("button", name="Save as preset").click()
    page.get_by_role("button", name="Sailor", exact=True).wait_for()
    page.get_by_role("button", name="Save", exact=True).click()
    talk(window)
    answer = window.last_answer()
    assert "cut at its limit" in answer.inner_text()
    answer.get_by_role("button", name="Figures").click()
    assert "7 written" in page.locator(".figures").inner_text()
    window.open()
    page.get_by_role("button", name="Settings of this conversation").click()
    assert page.get_by_label("System prompt").input_value() == ""
    page.get_by_role("button", name="Sailor", exact=True).click()
    assert page.get_by_label("System prompt").input_value() == "Answer like a sailor."
    page.get_by_role("button", name="Delete the preset Sailor").click()
    page.get_by_role("button", name="Sailor", exact=True).wait_for(state="detached")


def test_an_answer_goes_on_while_the_page_is_loaded_anew(window: Window) -> None:
    window.open()
    talk(window)
    words = "document.querySelector('article.answer .markdown')?.textContent.match(/\\p{L}{3,}/gu)"
    window.until(f"() => {words}?.length > 2")  # so that the first two are whole
    before = window.page.evaluate(f"() => {words}.slice(0, 2)")
    window.page.reload()
    window.page.locator("article.answer[data-state=writing]").wait_for()
    window.until(f"before => {words}?.slice(0, 2).join() === before.join()", before)
    grown = window.page.evaluate("() => document.querySelector('article.answer').innerText.length")
    window.until("n => document.querySelector('article.answer').innerText.length > n", grown)
    window.page.get_by_role("button", name="Stop").click()
    window.last_answer("stopped")


def test_conversations_are_found_renamed_exported_and_deleted(window: Window, tmp_path: Path) -> None:
    window.open()
    window.attach(text_file("notice.txt", "The zeppelin lands at nine."))
    window.ask("When does the zeppelin land?")
    window.last_answer()
    page = window.page
    page.locator(".list li", has_text="zeppelin").first.wait_for()
    page.keyboard.press("Control+k")
    page.keyboard.type("zeppel")
    page.locator(".list .excerpt", has_text="zeppelin").first.wait_for()
    page.get_by_role("searchbox").first.fill("nothing of the kind at all")
    page.get_by_text("Nothing was found").wait_for()
    page.get_by_role("searchbox").first.fill("")
    entry = page.locator(".list li", has_text="zeppelin").first
    entry.get_by_role("button", name=re.compile("^More")).click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="Rename").fill("Airship")
    page.keyboard.press("Enter")
    page.locator(".list li", has_text="Airship").wait_for()
    for format_name, ending in (("Markdown", ".md"), ("JSON", ".json")):
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=f"Export as {format_name}").click()
        assert download.value.suggested_filename.endswith(ending)
        assert "zeppelin" in Path(download.value.path()).read_text(encoding="utf-8")
    page.locator(".list li", has_text="Airship").get_by_role("button", name=re.compile("^More")).click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.locator(".list li", has_text="Airship").wait_for(state="detached")
    assert page.url == window.home + "/"


def test_a_shared_link_is_read_without_signing_in_until_it_is_revoked(
    window: Window, open_window: Callable[..., Window], tmp_path: Path
) -> None:
    window.open()
    window.attach(text_file("notice.txt", "The shop opens at nine. The safe's number is 4711."))
    window.ask("When does the shop open?")
    window.last_answer()
    page = window.page
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("Link, shown only now").input_value()
    stranger = open_window(signed_in=False)
    stranger.open(link.removeprefix(stranger.home))
    stranger.page.get_by_text("When does the shop open?").first.wait_for()
    assert "to be read only" in stranger.page.locator("main").inner_text()
    assert stranger.page.locator("textarea").count() == 0
    stranger.screenshot("shared", tmp_path)
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("The link was revoked").first.wait_for()
    stranger.expected = "404"
    stranger.page.reload()
    stranger.page.get_by_text("does not exist, or was revoked").wait_for()
