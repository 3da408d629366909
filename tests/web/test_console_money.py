"""The console's money and usage: what is bought is seen to fall, exactly, and every sum is the sum of its parts."""

from __future__ import annotations

import csv
import io
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.api.live import LiveServer
from tests.web.browsing import PHONE, WIDE, Window
from tests.web.console import MODEL, ask, dialog, move, show

INPUT, OUTPUT = 2_000_000_123, 6_000_000_456  # nano-euros a million tokens
EURO = 10**9
PAGES = (
    "overview", "usage", "usage?by=key&days=7&measure=tokens", "billing", "billing/lots/{lot}", "billing/budgets",
    "billing/statements", "billing/statements/{month}", "billing/ledger", "limits",
)  # fmt: skip


def call(live: LiveServer, method: str, path: str, body: Any = None) -> Any:
    """An answer of the API, to the first key."""
    headers = {"authorization": f"Bearer {live.key}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(live.url + path, data, headers, method=method)) as reply:
        return json.load(reply)


def shown(nano: int) -> str:
    """As the console writes it in English, to the last digit."""
    whole, rest = divmod(nano, EURO)
    decimals = f"{rest:09}".rstrip("0").ljust(2, "0")
    return f"€{whole:,}." + "\u202f".join(re.findall(r"\d{1,3}", decimals))


def figure(window: Window, name: str) -> Any:
    """One of the figures at the head of a page."""
    return window.page.locator("dl > div").filter(has=window.page.get_by_text(name, exact=True)).locator(".figure")


@pytest.fixture(scope="module")
def priced(installation: LiveServer) -> Iterator[LiveServer]:
    """The model costs something for as long as these tests last."""
    [offering] = [one["id"] for one in call(installation, "GET", "/v1/offerings")["data"] if one["model"] == MODEL]
    prices = f"/v1/offerings/{offering}/prices"
    call(installation, "POST", prices, {"input": INPUT, "output": OUTPUT})
    yield installation
    call(installation, "POST", prices, {"input": 0, "output": 0})


@pytest.fixture(scope="module")
def commitment(priced: LiveServer) -> str:
    """A hundred euros to be spent until 2040, of which three requests have drawn; beside them credit that has ended."""
    draft = {"kind": "commitment", "name": "Long", "amount": 100 * EURO, "ends_at": "2040-01-01T00:00:00Z"}
    made: str = call(priced, "POST", "/v1/billing/lots", draft)["id"]
    for _ in range(3):
        assert ask(priced, priced.key)[0] == 200
    credit = call(priced, "POST", "/v1/billing/lots", {"kind": "credit", "name": "Ended", "amount": 5 * EURO})
    call(priced, "POST", f"/v1/billing/lots/{credit['id']}/cancel")
    call(priced, "POST", "/v1/billing/budgets", {"name": "Watched", "amount": EURO})
    return made


def test_a_commitment_is_bought_and_falls_by_what_a_request_costs(
    priced: LiveServer, open_console: Callable[..., Window]
) -> None:
    window = open_console()
    page = window.page
    show(window, "billing")
    draft = dialog(window, "Buy a commitment")
    draft.get_by_label("Amount").fill("ten")
    assert draft.get_by_role("button", name="Commit").is_disabled()
    draft.get_by_label("Amount").fill("1,234.50")
    draft.get_by_text("= €1,234.50").wait_for()
    draft.get_by_label("Term").select_option("1 month")
    draft.get_by_label("Name").fill("Short")
    assert "What is not used by then is charged as shortfall." in draft.inner_text()
    draft.get_by_role("button", name="Commit").click()
    page.get_by_role("log").get_by_text("Short is there and can be spent.").wait_for()
    lot = page.get_by_role("article", name="Short")
    lot.get_by_text("€1,234.50").first.wait_for()

    status, body, _ = ask(priced, priced.key)
    assert status == 200
    used = body["usage"]
    cost = (used["prompt_tokens"] * INPUT + used["completion_tokens"] * OUTPUT + 500_000) // 1_000_000
    left = shown(1_234_500_000_000 - cost)
    lot.get_by_text(left).wait_for()  # by itself
    assert figure(window, "Available").inner_text() == left
    assert figure(window, "Spent this month").inner_text() == shown(cost)

    lot.get_by_role("link", name="Short").click()
    assert figure(window, "Left").inner_text() == left
    curve = page.get_by_role("slider", name="What is left of Short")
    curve.focus()
    assert left in curve.get_attribute("aria-valuetext")
    page.get_by_role("link", name="Ledger").click()
    movement = page.get_by_role("row").filter(has_text="Request").first
    movement.get_by_text(shown(cost)).first.wait_for()
    show(window, "usage")
    page.get_by_role("row").filter(has_text=MODEL).filter(has_text=shown(cost)).first.wait_for()


def test_the_chart_is_moved_by_keys_and_says_what_the_table_and_the_export_say(
    priced: LiveServer, commitment: str, open_console: Callable[..., Window]
) -> None:
    window = open_console()
    page = window.page
    show(window, "usage?measure=requests")
    total = page.get_by_role("row").filter(has_text="Total").first
    total.wait_for()
    requests = int(total.get_by_role("cell").first.inner_text())
    chart = page.get_by_role("slider", name="Requests by day")
    chart.focus()
    today = chart.get_attribute("aria-valuetext")
    assert f"{MODEL} " in today
    chart.press("Home")
    assert chart.get_attribute("aria-valuetext") != today
    chart.press("End")
    assert chart.get_attribute("aria-valuetext") == today
    page.get_by_text("As a table").click()
    rows = page.get_by_role("region", name="Requests by day").get_by_role("row")
    assert rows.count() == 31  # a head and thirty days

    page.get_by_role("radio", name="By key").check(force=True)
    assert "by=key" in page.url
    page.get_by_role("columnheader", name="Key", exact=True).first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    exported = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))
    assert len(exported) == requests
    report = call(priced, "GET", "/v1/usage")
    assert sum(int(row["amount_eur"].replace(".", "")) for row in exported) == report["total"]["amount"]

    page.get_by_role("table", name="Sums").get_by_role("link").first.click()  # the first key alone
    page.get_by_role("link", name="Remove the filter").click()
    page.get_by_role("link", name="Remove the filter").wait_for(state="detached")


def test_a_budget_is_made_with_a_secret_that_is_shown_once(
    commitment: str, open_console: Callable[..., Window]
) -> None:
    window = open_console()
    page = window.page
    show(window, "billing/budgets")
    draft = dialog(window, "New budget")
    draft.get_by_label("Name").fill("Team")
    draft.get_by_label("Amount a month").fill("0.000 01")
    draft.get_by_label("Warn at").fill("half")
    draft.get_by_text("Write one to ten whole numbers").wait_for()
    draft.get_by_label("Warn at").fill("50, 200000000")
    draft.get_by_text("Write one to ten whole numbers").wait_for()
    draft.get_by_label("Warn at").fill("80, 1000")
    draft.get_by_label("Webhook").fill("http://127.0.0.1/hook")
    draft.get_by_role("button", name="Create").click()
    window.expected = "400"  # of this machine itself
    draft.get_by_role("alert").filter(has_text="127.0.0.1:80 is to be called by https").wait_for()
    draft.get_by_label("Webhook").fill("https://hooks.invalid/budgets")
    draft.get_by_role("button", name="Create").click()
    once = page.get_by_role("dialog", name="The budget is there.")
    secret = once.get_by_label("Secret of the webhook").input_value()
    assert len(secret) > 20
    page.keyboard.press("Escape")
    budget = page.get_by_role("listitem").filter(has_text="Team")
    budget.get_by_text("over budget").wait_for()
    assert secret not in page.content()
    show(window, "overview")
    page.get_by_role("link", name="The budget Team is exceeded.").click()
    dialog(window, "Delete: Team").get_by_role("button", name="Delete").click()
    budget.wait_for(state="detached")


def test_a_statement_is_read_and_taken_along(
    priced: LiveServer, commitment: str, open_console: Callable[..., Window]
) -> None:
    window = open_console()
    page = window.page
    month = datetime.now(UTC).strftime("%Y-%m")
    show(window, "billing/statements")
    page.get_by_role("main").get_by_role("listitem").get_by_role("link").first.click()
    page.get_by_text("still running").wait_for()
    statement = call(priced, "GET", f"/v1/billing/statements/{month}")
    assert statement["charged"] > 0
    assert figure(window, "Used").inner_text() == shown(statement["charged"])
    assert figure(window, "To be paid").inner_text() == shown(statement["due"])
    for format, begin in (("CSV", b""), ("PDF", b"%PDF-")):
        with page.expect_download() as download:
            page.get_by_role("main").get_by_role("link", name=format).click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(begin)
        assert content
        assert download.value.suggested_filename.endswith(f".{format.lower()}")


def test_limits_are_changed_where_they_stand(
    priced: LiveServer, commitment: str, open_console: Callable[..., Window]
) -> None:
    window = open_console()
    page = window.page
    key = call(priced, "POST", "/v1/keys", {"name": "Limited"})
    show(window, "limits")
    row = page.get_by_role("row").filter(has_text="Limited")
    row.get_by_role("button", name="Change the limits").click()
    per_minute = row.get_by_label("Tokens/minute")
    assert row.get_by_label("Requests/s").evaluate("field => field === document.activeElement")
    per_minute.fill("1.5")
    per_minute.press("Enter")
    row.get_by_text("A whole number from 1, or nothing.").wait_for()
    per_minute.fill("1,000,000")
    row.get_by_label("Spent this month").fill("0.000 000 001")
    per_minute.press("Enter")
    page.get_by_role("log").get_by_text("The limits of Limited are saved.").wait_for()
    assert row.get_by_role("button").evaluate("button => button === document.activeElement")
    assert "1,000,000" in row.inner_text()
    status, body, _ = ask(priced, key["key"])
    assert (status, body["type"]) == (402, "cap_reached")
    row.get_by_role("button").click()
    row.get_by_label("Spent this month").fill("")
    row.get_by_role("button", name="Save").click()
    row.get_by_role("button", name="Change the limits").wait_for()
    assert ask(priced, key["key"])[0] == 200


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_and_nothing_is_beside_the_screen(
    commitment: str, open_console: Callable[..., Window], size: tuple[int, int], tmp_path: Path
) -> None:
    window = open_console(size=size)
    show(window, "overview")
    places = {"lot": commitment, "month": datetime.now(UTC).strftime("%Y-%m")}
    for page in PAGES:
        move(window, page.format(**places))
        for scheme in ("light", "dark"):
            window.page.emulate_media(color_scheme=scheme)
            assert window.violations() == [], (page, scheme)
            assert window.fits(), page
            name = re.sub(r"\W", "-", page.partition("?")[0])
            window.screenshot(f"console-{name}-{'phone' if size == PHONE else 'wide'}-{scheme}", tmp_path)
