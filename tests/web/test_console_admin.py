"""The console's administration as an owner and a colleague use it, and for everybody: axe, phones, keyboards."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.live import LiveServer
from tests.web.browsing import PHONE, WIDE, Window
from tests.web.console import MODEL, ask, dialog, move, show

PAGES = (
    "catalogue", "catalogue/mistral-large-2411", "deployments", "providers", "keys", "members", "workspaces", "audit",
    "settings",
)  # fmt: skip


def shown_once(window: Window, label: str) -> str:
    """The secret of the dialog that is open, which Esc then closes."""
    secret: str = window.page.get_by_role("dialog").get_by_label(label).input_value()
    window.page.keyboard.press("Escape")
    window.page.get_by_role("dialog").wait_for(state="detached")
    return secret


def menu(window: Window, of: str, item: str) -> None:
    window.page.get_by_role("button", name=f"More: {of}").first.click()
    window.page.get_by_role("menuitem", name=item).click()


def focused(window: Window) -> str:
    found: str = window.page.evaluate("() => document.activeElement.textContent.trim()")
    return found


def make_key(window: Window, name: str) -> str:
    draft = dialog(window, "New key")
    draft.get_by_label("Name").fill(name)
    draft.get_by_role("button", name="Create").click()
    window.page.get_by_role("heading", name=f"The key {name}", exact=True).wait_for()
    return shown_once(window, "Key")


def test_a_colleague_joins_and_rotates_a_key(installation: LiveServer, open_console: Callable[..., Window]) -> None:
    window = open_console()
    show(window, "members")
    draft = dialog(window, "Invite")
    draft.get_by_label("E-mail address").fill("ada@example.org")
    draft.get_by_role("radio", name="developer").check()
    draft.get_by_role("button", name="Make the link").click()
    window.page.get_by_role("heading", name="The invitation").wait_for()
    link = shown_once(window, "Link")
    assert focused(window) == "Invite"

    colleague = open_console(signed_in=False)
    colleague.expected = "401"  # nobody is signed in yet
    page = colleague.page
    colleague.open(link.removeprefix(installation.url))
    page.get_by_role("heading", name="Join My organisation").wait_for()
    assert "Owner invites you to My organisation. Your role: developer." in page.locator("main").inner_text()
    assert page.get_by_label("E-mail address").is_disabled()  # the invitation is for this address alone
    assert colleague.violations() == []
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Password", exact=True).fill("a breeze from the north")
    page.get_by_role("button", name="Join").click()
    page.locator(".composer textarea").wait_for()

    show(colleague, "keys")
    assert page.get_by_role("navigation").get_by_role("link", name="Members").count() == 0
    key = make_key(colleague, "Nightly job")
    assert focused(colleague) == "New key"
    assert ask(installation, key)[0] == 200
    menu(colleague, "Nightly job", "Rotate")
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    page.get_by_role("heading", name="The key Nightly job", exact=True).wait_for()
    fresh = shown_once(colleague, "Key")
    assert fresh != key
    assert [ask(installation, one)[0] for one in (key, fresh)] == [200, 200]

    row = page.get_by_role("row").filter(has_text=key[:9])
    row.get_by_text("ends soon").wait_for()
    row.get_by_role("button").click()
    page.get_by_role("menuitem", name="Revoke").click()
    assert key[:9] in page.get_by_role("dialog").inner_text()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    row.wait_for(state="detached")
    assert [ask(installation, one)[0] for one in (key, fresh)] == [401, 200]

    again = open_console(signed_in=False)
    again.expected = "401|403"
    again.open("/console/settings")
    again.page.get_by_label("E-mail address").fill("ada@example.org")
    for password in ("a breeze from the south", "a breeze from the north"):
        again.page.get_by_label("Password", exact=True).fill(password)
        again.page.get_by_role("button", name="Sign in").click()
        if password.endswith("south"):
            again.page.get_by_role("alert").filter(has_text="do not belong together").wait_for()
    again.page.get_by_role("heading", name="Your account").wait_for()  # where one wanted to go
    assert again.page.get_by_label("Your name").input_value() == "Ada"


def test_a_model_is_deployed_stopped_and_deleted(open_console: Callable[..., Window]) -> None:
    window = open_console()
    show(window, "deployments")
    draft = dialog(window, "Deploy a model")
    draft.get_by_label("Model").fill("mistral-large-2411")
    draft.get_by_text("This does not fit").wait_for()
    assert draft.get_by_role("button", name="Deploy").is_disabled()  # its licence is not accepted yet
    draft.get_by_label("Model").fill("random:tiny-15m")
    draft.get_by_label("Served as").fill("squall")
    draft.get_by_role("button", name="Deploy").click()
    squall = window.page.get_by_role("article", name="squall")
    squall.get_by_text("running").wait_for()
    for verb, then in (("Stop", "stopped"), ("Delete", None)):
        confirmation = dialog(window, f"{verb}: squall")
        assert "squall" in confirmation.inner_text()
        confirmation.get_by_role("button", name=verb).click()
        if then:
            squall.get_by_text(then).wait_for()
    squall.wait_for(state="detached")
    window.page.get_by_role("article", name=MODEL).get_by_text("running").wait_for()


def test_eu_only_is_one_click_and_is_tried_before_it_is_saved(
    installation: LiveServer, live: LiveServer, open_console: Callable[..., Window]
) -> None:
    window = open_console()
    page = window.page
    show(window, "providers")
    draft = dialog(window, "Add a provider")
    facts = {
        "Name": "Other house",
        "Address": f"{live.url}/v1",
        "Company": "Example SA",
        "Country": "fr",
        "Key": live.key,
    }
    for label, value in facts.items():
        draft.get_by_label(label, exact=True).fill(value)
    draft.get_by_text("= France (FR)").wait_for()
    draft.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Check: Other house").click()
    page.get_by_role("button", name="Offer: brise").click()
    page.get_by_text("not served: no price").wait_for()
    prices = dialog(window, "Set the price: brise")
    prices.get_by_label("Input", exact=True).fill("0.000 1")
    prices.get_by_label("Output").fill("much")
    prices.get_by_role("button", name="Set the price").click()
    assert prices.get_by_label("Output").evaluate("field => !field.checkValidity()")
    prices.get_by_label("Output").fill("0")
    prices.get_by_label("Input", exact=True).fill("0")
    prices.get_by_role("button", name="Set the price").click()
    page.get_by_role("row").filter(has_text="brise").get_by_text("served", exact=True).wait_for()
    assert live.key not in page.content()

    show(window, "workspaces")
    naming = dialog(window, "New workspace")
    naming.get_by_label("Name").fill("Hospital")
    naming.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="Hospital").click()
    page.get_by_role("radio", name="EU only").check()
    refused = page.get_by_role("listitem").filter(has_text=MODEL)
    refused.get_by_text(f"This workspace's policy allows no offering of {MODEL!r}").wait_for()
    page.get_by_role("listitem").filter(has_text="brise").get_by_text("Example SA · France (FR)").wait_for()
    page.get_by_role("button", name="Save the rule").click()
    page.get_by_role("log").get_by_text("The rule of Hospital is saved").wait_for()

    show(window, "keys")
    draft = dialog(window, "New key")
    draft.get_by_label("Name").fill("Ward")
    draft.get_by_label("Workspace").select_option("Hospital")
    draft.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="The key Ward", exact=True).wait_for()
    key = shown_once(window, "Key")
    status, _, route = ask(installation, key, "brise")
    assert (status, "FR" in route) == (200, True)
    status, body, _ = ask(installation, key)
    assert (status, body["type"]) == (403, "no_route_allowed")


def test_the_audit_log_tells_and_is_taken_along(installation: LiveServer, open_console: Callable[..., Window]) -> None:
    window = open_console()
    page = window.page
    show(window, "keys")
    make_key(window, "Noted")
    show(window, "audit")
    page.get_by_text("The chain is whole").wait_for()
    page.get_by_label("Action").select_option("API keys")
    entry = page.get_by_role("listitem").filter(has_text="Noted").first
    entry.get_by_text("key.create").click()
    entry.get_by_text("127.0.0.1").wait_for()
    page.get_by_label("Who").fill("nobody of this name")
    page.get_by_text("No entry is like this.").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    *exported, last = (json.loads(line) for line in lines)
    assert [one["number"] for one in exported] == list(range(1, last["entries"] + 1))
    assert any(one["action"] == "key.create" and one["detail"]["name"] == "Noted" for one in exported)


def test_an_announced_retirement_is_seen_on_the_line_of_a_models_life(open_console: Callable[..., Window]) -> None:
    window = open_console()
    show(window, "catalogue")
    window.page.get_by_label("Search").fill("codestral 22b")
    shown = window.page.get_by_role("status").filter(has_text="model").inner_text()
    assert re.match(r"[1-9]", shown)
    window.page.get_by_role("button", name="Clear the filters").click()
    show(window, f"catalogue/{MODEL}")
    life = dialog(window, "Change")
    life.get_by_label("Legacy from").fill("2031-01-01")
    life.get_by_label("Deprecated from").fill("2031-03-01")
    life.get_by_label("Retired from").fill("2031-03-02")
    life.get_by_role("button", name="Save").click()
    window.expected = "400"  # refused, in words
    life.get_by_role("alert").filter(has_text="90 days").wait_for()
    life.get_by_label("Retired from").fill("2031-09-01")
    life.get_by_role("button", name="Save").click()
    life.wait_for(state="detached")
    window.page.get_by_role("listitem").filter(has_text="Retired").get_by_text("September 1, 2031").wait_for()


@pytest.mark.parametrize(
    ("size", "scheme"), list(itertools.product((WIDE, PHONE), ("light", "dark"))), ids=lambda value: str(value)
)
def test_axe_finds_nothing_and_nothing_is_beside_the_screen(
    open_console: Callable[..., Window], size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    window = open_console(size=size, scheme=scheme)
    name = f"{'phone' if size == PHONE else 'wide'}-{scheme}"
    show(window, "settings")
    for page in PAGES:
        move(window, page)
        assert window.violations() == [], page
        assert window.fits(), page
        window.screenshot(f"console-{page.replace('/', '-')}-{name}", tmp_path)
