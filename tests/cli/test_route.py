"""`tramontane route explain`: what the catalogue and a workspace's policy say, without a server."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.billing.ready import sqlite_place
from tests.billing.tenants import add_tenant
from tramontane.accounts.tables import Workspace
from tramontane.catalogue.prices import PriceDraft, set_price
from tramontane.catalogue.providers import create_offering, create_provider
from tramontane.catalogue.tables import ProviderRow
from tramontane.cli.main import cli
from tramontane.errors import TramontaneError
from tramontane.storage.base import now
from tramontane.storage.database import Database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """mistral-small-2603 at three providers, two workspaces, of which one may use two of them."""

    async def prepare(db: Database) -> None:
        async with db.write() as session:
            tenant = await add_tenant(session, workspaces=2)
            legal = await session.get_one(Workspace, tenant.workspace_ids[1])
            legal.name, legal.policy = "Legal", {"regions": ["EU"]}
            for name, region, price in (("Cheap", "US", 1), ("Near", "FR", 2), ("Dear", "DE", 3)):
                fields = {"name": name, "base_url": "https://x/v1", "operator": "Winds", "region": region}
                provider: ProviderRow = await create_provider(session, fields)
                offering = await create_offering(session, provider.id, "mistral-small-2603", None, None)
                cost = price * 10**9
                begun = PriceDraft(input=cost, output=cost, valid_from=now() - timedelta(seconds=1))
                await set_price(session, offering.id, begun)

    monkeypatch.setenv("TRAMONTANE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    sqlite_place(tmp_path).run(prepare, upgrade=False)
    return tmp_path


def explain(*arguments: str) -> str:
    return CliRunner().invoke(cli, ["route", "explain", *arguments], catch_exceptions=False).stdout


def test_the_order_and_what_is_left_out(home: Path) -> None:
    told = json.loads(explain("mistral-small-latest", "--workspace", "Meltemi 0", "--json"))
    assert (told["model"], told["resolved"], told["problem"]) == ("mistral-small-latest", "mistral-small-2603", None)
    assert [(one["provider_name"], one["place"]) for one in told["considered"]] == [
        ("Cheap", 1),
        ("Near", 2),
        ("Dear", 3),
    ]
    assert told["chosen"] == told["considered"][0]["offering_id"]
    told = json.loads(explain("mistral-small-latest", "--workspace", "Legal", "--json"))
    assert [(one["provider_name"], one["place"]) for one in told["considered"]] == [
        ("Near", 1),
        ("Dear", 2),
        ("Cheap", None),
    ]
    assert told["considered"][2]["reason"] == "its region US is not within EU"


def test_people_read_a_table(home: Path) -> None:
    told = explain("mistral-small-latest", "--workspace", "Legal")
    assert "mistral-small-latest means mistral-small-2603" in told
    assert "2 € for a million tokens" in told


def test_what_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(TramontaneError, match="no workspace 'Nowhere'"):
        explain("mistral-small-latest", "--workspace", "Nowhere")
    with pytest.raises(TramontaneError, match="mistral-small-2603"):
        explain("mistral-smal")
