"""Documents: attached in any way, quoted, opened at the quotation, refused with words that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conversations.making import lines, pdf
from tests.web.browsing import Window, text_file


def test_three_documents_are_attached_and_a_citation_opens_one(
    window: Window, three_documents: list[Path], tmp_path: Path
) -> None:
    window.open()
    window.attach(*three_documents)
    page = window.page
    assert page.locator(".documents .name").all_inner_texts() == ["rules.txt", "contract.md", "prices.csv"]
    assert "Quotations are exact" in page.locator(".composer").inner_text()
    window.ask("How much is the rent?")
    answer = window.last_answer()
    quoted = answer.locator("q").first.inner_text().strip("«»")
    answer.locator("button.citation").first.click()
    mark = page.locator("aside mark.current")
    mark.wait_for()
    assert mark.text_content() == quoted  # rendered once it is scrolled to
    assert page.locator("aside h2").inner_text() == "contract.md"
    assert answer.locator(".cited").inner_text() == "[1] contract.md"
    answer.get_by_text("What the model read").click()
    assert "passages: 1" in answer.locator(".given li").inner_text()  # brise is given the sentence that fits
    window.screenshot("citation", tmp_path)
    page.keyboard.press("Escape")
    page.locator("aside").wait_for(state="detached")


def test_a_pdf_is_read_and_only_passages_of_a_long_one_are_given(window: Window) -> None:
    filler = "The weather was noted each day by the keeper of the light, and nothing else happened. " * 150
    long = text_file("diary.txt", f"{filler}\n\nThe captain's parrot is called Alizarin.\n\n{filler}")
    short = {"name": "notice.pdf", "mimeType": "application/pdf", "buffer": pdf(lines("The harbour opens at seven."))}
    window.open()
    window.choose_model("talker")
    window.attach(long, short)
    window.ask("What is the captain's parrot called?")
    answer = window.last_answer()
    answer.get_by_text("What the model read").click()
    rows = answer.locator(".given li").all_inner_texts()
    assert "passages:" in rows[0]
    assert "all of it" in rows[1]
    answer.locator("details button").first.click()
    shaded = "[...document.querySelectorAll('aside .read, aside mark')].map(one => one.textContent).join('')"
    window.until(f"() => {shaded}.includes('parrot is called Alizarin')")
    assert "The model read the shaded passages." in window.page.locator("aside").inner_text()


def test_documents_come_by_drop_and_by_paste(window: Window) -> None:
    window.open()
    drop = """([name, text]) => {
        const data = new DataTransfer();
        data.items.add(new File([text], name, {type: 'text/plain'}));
        for (const kind of ['dragover', 'drop'])
            window.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    window.page.evaluate(drop, ["dropped.txt", "It was dropped."])
    window.page.locator(".documents .name", has_text="dropped.txt").wait_for()
    paste = """text => {
        const data = new DataTransfer();
        data.setData('text/plain', text);
        const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});
        document.querySelector('.composer textarea').dispatchEvent(event);
    }"""
    window.page.evaluate(paste, "A long text that was pasted. " * 200)
    window.page.locator(".documents .name", has_text="Pasted text").wait_for()
    assert window.field.input_value() == ""


def test_the_library_keeps_documents_for_other_conversations(window: Window, tmp_path: Path) -> None:
    window.open()
    window.attach(text_file("barometer.txt", "The barometer hangs in the hall."))
    page = window.page
    page.get_by_role("link", name="Library").click()
    page.get_by_label("Search by name").fill("barom")
    page.get_by_label("Choose barometer.txt").check()
    window.screenshot("library", tmp_path)
    page.get_by_role("button", name="Ask about the chosen ones (1)").click()
    page.locator(".documents .name", has_text="barometer.txt").wait_for()
    window.ask("Where does the barometer hang?")
    window.last_answer()
    page.get_by_role("button", name="New conversation").click()
    assert page.locator(".documents").count() == 0
    page.get_by_role("button", name="Attach documents").click()
    page.get_by_role("menuitem", name="From the library").click()
    page.get_by_label("Choose barometer.txt").check()
    page.get_by_role("button", name="Attach the chosen ones").click()
    page.locator(".documents .name", has_text="barometer.txt").wait_for()
    page.get_by_role("link", name="Library").click()
    page.get_by_role("button", name="Delete: barometer.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_label("Choose barometer.txt").wait_for(state="detached")


REFUSED = {
    "broken.pdf": (b"%PDF-1.7\nand then nothing of the kind", "cannot be read: the file is damaged"),
    "secret.pdf": (pdf(lines("Nobody reads this."), password="secret"), "protected by a password"),
    "empty.txt": (b"   \n", "no text in"),
    "program.bin": (b"\x7fELF\x02\x01\x01" + bytes(200), "of a kind that cannot be read here"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_says_why_and_the_rest_goes_on(window: Window, name: str) -> None:
    content, words = REFUSED[name]
    window.expected = "400|413|422"
    window.open()
    files = [{"name": name, "mimeType": "application/octet-stream", "buffer": content}, text_file("good.txt", "Good.")]
    window.page.locator(".composer input[type=file]").set_input_files(files)
    window.page.locator(".documents .name", has_text="good.txt").wait_for()
    refusal = window.page.locator(".documents li.failed")
    refusal.wait_for()
    assert words in refusal.inner_text()
    assert name in refusal.inner_text()
    refusal.get_by_role("button", name="Dismiss").click()
    refusal.wait_for(state="detached")


def test_a_file_of_500_megabytes_is_refused_at_once(window: Window, tmp_path: Path) -> None:
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(500 * 10**6)
    window.open()
    window.page.locator(".composer input[type=file]").set_input_files(huge)
    refusal = window.page.locator(".documents li.failed")
    refusal.wait_for()
    assert "larger than 32 MiB" in refusal.inner_text()
    assert not [url for url in window.requests if "/v1/documents" in url]


def test_a_hostile_document_and_a_hostile_name_are_only_text(window: Window) -> None:
    script = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    window.open()
    window.attach(text_file("<b>name<b>.txt", f"The code word is {script} and nothing else."))
    window.page.locator(".documents .name").click()
    window.page.locator("aside .block", has_text=script).wait_for()  # a block that was never drawn has no inner text
    assert window.page.locator("aside img, aside script").count() == 0
    assert "taken" not in window.page.title()
