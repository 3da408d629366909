"""The catalogue's routes: what everybody reads, and what only the operator's administrators change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2

from tests.accounts.making import key_of, organisation_of
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.secrets import Secret
from tramontane.api.app import create_app
from tramontane.api.platform import Platform
from tramontane.catalogue.providers import list_providers
from tramontane.catalogue.store import ModelStore
from tramontane.gateway.metrics import Metrics
from tramontane.storage.base import now
from tramontane.storage.database import Database

OPERATOR = "trm-the-key-of-the-operator-in-these-tests"
CANARY = "sk-canary-of-a-provider-0123456789"


class Console:
    """The API as somebody with a key uses it."""

    def __init__(self, client: httpx2.AsyncClient, platform: Platform) -> None:
        self.client, self.platform = client, platform
        self.key = OPERATOR

    async def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        reply = await self.client.request(method, path, json=body, headers={"authorization": f"Bearer {self.key}"})
        assert reply.status_code == status, f"{method} {path}: {reply.status_code} {reply.text}"
        assert CANARY not in reply.text
        return reply.json() if reply.content else None


@asynccontextmanager
async def console(home: Path) -> AsyncIterator[Console]:
    db = Database.open(None, home)
    await db.upgrade()
    await prepare_accounts(db, Secret(OPERATOR))
    platform = Platform(db, Authenticator(db), [], Metrics(), ModelStore(home))
    await platform.open(["winds/own"])
    transport = httpx2.ASGITransport(create_app(platform), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        yield Console(client, platform)
    await platform.answers.close()
    await platform.close()
    await db.close()


def in_console(home: Path, scenario: Callable[[Console], Awaitable[None]]) -> None:
    async def main() -> None:
        async with console(home) as ask:
            await scenario(ask)

    asyncio.run(main())


PROVIDER = {
    "name": "Elsewhere",
    "base_url": "http://127.0.0.1:9/v1",
    "key": CANARY,
    "operator": "Winds",
    "region": "FR",
}


def test_what_everybody_reads(tmp_path: Path) -> None:
    async def scenario(ask: Console) -> None:
        other = await organisation_of(ask.platform.database, "customers", "member")
        ask.key = await key_of(ask.platform.database, other, "member")
        models = {model["name"]: model for model in (await ask("GET", "/v1/catalogue"))["data"]}
        assert list(models)[:2] == ["brise", "winds/own"]
        assert models["brise"]["licence"]["name"] == "Apache-2.0"
        assert models["brise"]["is_pulled"]
        assert "mistral-small-latest" in models["mistral-small-2603"]["aliases"]
        (offering,) = models["winds/own"]["offerings"]
        assert (offering["kind"], offering["price"]["input"], offering["is_running"]) == ("local", 0, False)
        for name in ("open-mixtral-8x7b", "mixtral-8x7b"):
            one = await ask("GET", f"/v1/catalogue/{name}")
            assert (one["name"], one["lifecycle"]["stage"], one["repository"]) == (
                "open-mixtral-8x7b",
                "legacy",
                "mistralai/Mixtral-8x7B-Instruct-v0.1",
            )
        assert (await ask("GET", "/v1/catalogue/winds/own"))["name"] == "winds/own"
        await ask("GET", "/v1/catalogue/winds/unknown", status=404)

    in_console(tmp_path, scenario)


def test_only_the_operator_changes_anything(tmp_path: Path) -> None:
    async def scenario(ask: Console) -> None:
        offering = (await ask("GET", "/v1/offerings"))["data"][0]["id"]
        other = await organisation_of(ask.platform.database, "customers", "owner")
        ask.key = await key_of(ask.platform.database, other, "owner")
        some = "f" * 32
        for method, path, body in (
            ("PUT", "/v1/catalogue/brise/lifecycle", {"stage": "retired"}),
            ("POST", "/v1/catalogue/codestral-22b/licence", None),
            ("GET", "/v1/providers", None),
            ("POST", "/v1/providers", PROVIDER),
            ("PATCH", f"/v1/providers/{some}", {"enabled": False}),
            ("POST", f"/v1/providers/{some}/check", None),
            ("GET", "/v1/offerings", None),
            ("POST", "/v1/offerings", {"model": "m", "provider_id": some}),
            ("PATCH", f"/v1/offerings/{offering}", {"enabled": False}),
            ("GET", f"/v1/offerings/{offering}/prices", None),
            ("POST", f"/v1/offerings/{offering}/prices", {"input": 1, "output": 1}),
            ("DELETE", f"/v1/prices/{some}", None),
            ("GET", "/v1/deployments", None),
            ("POST", "/v1/deployments", {"reference": "brise"}),
            ("POST", f"/v1/deployments/{some}/start", None),
            ("POST", f"/v1/deployments/{some}/stop", None),
            ("DELETE", f"/v1/deployments/{some}", None),
        ):
            await ask(method, path, body, status=403)

    in_console(tmp_path, scenario)


def test_a_model_at_another_provider_and_its_prices(tmp_path: Path) -> None:
    async def scenario(ask: Console) -> None:
        provider = await ask("POST", "/v1/providers", PROVIDER)
        assert (provider["has_key"], provider["kind"], "key" in provider) == (True, "openai_compatible", False)
        await ask("POST", "/v1/providers", PROVIDER, status=409)
        draft = {"model": "m", "provider_id": provider["id"], "upstream_model": "their m"}
        offering = await ask("POST", "/v1/offerings", draft)
        assert (offering["price"], offering["operator"], offering["health"]["state"]) == (None, "Winds", "unknown")
        await ask("POST", "/v1/offerings", draft, status=409)

        prices = f"/v1/offerings/{offering['id']}/prices"
        first = await ask("POST", prices, {"input": 2 * 10**9, "output": 6 * 10**9})
        later = (now() + timedelta(days=1)).isoformat()
        second = await ask("POST", prices, {"input": 10**9, "output": 10**9, "valid_from": later})
        listed = (await ask("GET", prices))["data"]
        assert [price["id"] for price in listed] == [first["id"], second["id"]]
        assert listed[0]["valid_until"] == second["valid_from"]
        # In force at once, for requests and for people.
        (known,) = ask.platform.directory.offerings("m")
        price = known.price_at(now())
        assert price is not None
        assert price.output == 6 * 10**9
        (shown,) = [one for one in (await ask("GET", "/v1/offerings"))["data"] if one["id"] == offering["id"]]
        assert shown["price"]["id"] == first["id"]

        for body, status in (
            ({"input": -1, "output": 1}, 422),
            ({"output": 1}, 422),
            ({"input": 1, "output": 1, "currency": "USD"}, 400),
            ({"input": 1, "output": 1, "valid_from": "2020-01-01T00:00:00Z"}, 400),
            ({"input": 1, "output": 1, "valid_from": "2099-01-01T00:00:00"}, 400),
            ({"input": 1, "output": 1, "valid_from": later}, 409),
            ({"input": 1, "output": 1, "cached_input": 2}, 400),
        ):
            await ask("POST", prices, body, status=status)
        await ask("DELETE", f"/v1/prices/{first['id']}", status=409)
        await ask("DELETE", f"/v1/prices/{second['id']}", status=204)
        assert [price["valid_until"] for price in (await ask("GET", prices))["data"]] == [None]
        await ask("GET", f"/v1/offerings/{'f' * 32}/prices", status=404)

        off = await ask("PATCH", f"/v1/offerings/{offering['id']}", {"enabled": False, "max_context": 4096})
        assert (off["enabled"], off["max_context"]) == (False, 4096)
        assert not ask.platform.directory.offerings("m")[0].enabled
        entries = (await ask("GET", "/v1/audit"))["data"]
        assert {entry["action"] for entry in entries} >= {
            "provider.create",
            "offering.create",
            "offering.change",
            "price.set",
            "price.delete",
        }

    in_console(tmp_path, scenario)


def test_addresses_and_keys_of_providers(tmp_path: Path) -> None:
    async def scenario(ask: Console) -> None:
        for url in (
            "ftp://127.0.0.1/v1",
            "http://user:password@127.0.0.1/v1",
            "http://8.8.8.8/v1",
            "https://169.254.169.254/v1",
            "http://127.0.0.1/v1?key=1",
            "http://2130706433/v1",
            "http://127.1/v1",
            f"https://127.0.0.1/{'é' * 200}",
            "nothing",
        ):
            refused = await ask("POST", "/v1/providers", {**PROVIDER, "base_url": url}, status=400)
            assert refused["param"] == "base_url"
        for field, value in (("region", "Europe"), ("region", "EEA"), ("key", "two words"), ("key", "line\nend")):
            refused = await ask("POST", "/v1/providers", {**PROVIDER, field: value}, status=400)
            assert refused["param"] == field

        made = await ask("POST", "/v1/providers", {**PROVIDER, "base_url": "http://127.0.0.1:9/v1/"})
        assert made["base_url"] == "http://127.0.0.1:9/v1"
        path = f"/v1/providers/{made['id']}"
        (facts,) = [o for o in await rows_of_providers(ask) if o.id == made["id"]]
        assert facts.encrypted_key is not None
        assert CANARY.encode() not in facts.encrypted_key
        assert ask.platform.vault.decrypt(facts.encrypted_key, made["id"]).reveal() == CANARY
        # A key goes to the address that it was given for, and to no other.
        refused = await ask("PATCH", path, {"base_url": "http://127.0.0.1:10/v1"}, status=400)
        assert refused["param"] == "key"
        moved = await ask("PATCH", path, {"base_url": "http://127.0.0.1:10/v1", "key": None, "region": None})
        assert (moved["has_key"], moved["region"], moved["base_url"]) == (False, None, "http://127.0.0.1:10/v1")
        checked = await ask("POST", f"{path}/check")
        assert (checked["ok"], checked["models"]) == (False, [])
        assert "127.0.0.1:10" in checked["problem"]

        (machine,) = [one for one in (await ask("GET", "/v1/providers"))["data"] if one["kind"] == "local"]
        await ask("PATCH", f"/v1/providers/{machine['id']}", {"base_url": "http://127.0.0.1:9/v1"}, status=400)
        here = await ask("PATCH", f"/v1/providers/{machine['id']}", {"region": "FR", "operator": "Us"})
        assert (here["region"], here["operator"]) == ("FR", "Us")
        assert (await ask("POST", f"/v1/providers/{machine['id']}/check"))["ok"]
        raw = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
        assert CANARY.encode() not in raw

    in_console(tmp_path, scenario)


async def rows_of_providers(ask: Console) -> list[Any]:
    async with ask.platform.database.read() as session:
        return list(await list_providers(session))


def test_a_check_lists_what_a_server_offers(tmp_path: Path) -> None:
    class Upstream(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            known = self.headers["authorization"] == f"Bearer {CANARY}" and self.path == "/v1/models"
            body = b'{"object": "list", "data": [{"id": "their m"}]}' if known else b"{}"
            self.send_response(200 if known else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    async def scenario(ask: Console) -> None:
        made = await ask("POST", "/v1/providers", {**PROVIDER, "base_url": f"http://127.0.0.1:{server.server_port}/v1"})
        checked = await ask("POST", f"/v1/providers/{made['id']}/check")
        assert checked == {"ok": True, "problem": None, "models": ["their m"]}

    in_console(tmp_path, scenario)
    server.shutdown()
    server.server_close()


def test_a_life_and_a_licence(tmp_path: Path) -> None:
    async def scenario(ask: Console) -> None:
        path, moment = "/v1/catalogue/mistral-small-latest/lifecycle", now()

        def days(number: int) -> str:
            return (moment + timedelta(days=number)).isoformat()

        soon = {"stage": "available", "legacy_at": days(1), "deprecated_at": days(20)}
        refused = await ask("PUT", path, soon, status=400)
        assert (refused["param"], "30 days" in refused["message"]) == ("deprecated_at", True)
        refused = await ask("PUT", path, {"stage": "available", "replacement": "nobody"}, status=400)
        assert refused["param"] == "replacement"
        life = {"stage": "legacy", "deprecated_at": days(31), "retired_at": days(122), "replacement": "mistral-nemo"}
        model = await ask("PUT", path, life)
        assert (model["name"], model["lifecycle"]["stage"]) == ("mistral-small-2603", "legacy")
        resolved = ask.platform.directory.resolve("mistral-small-2603")
        assert (resolved.stage, resolved.replacement) == ("legacy", "mistral-nemo")
        assert resolved.deprecated_at == moment + timedelta(days=31)
        assert (await ask("PUT", "/v1/catalogue/winds/own/lifecycle", {"stage": "preview"}))["lifecycle"]["stage"] == (
            "preview"
        )
        await ask("PUT", "/v1/catalogue/winds/unknown/lifecycle", {"stage": "preview"}, status=404)

        assert (await ask("GET", "/v1/catalogue/codestral-22b"))["licence"]["accepted_at"] is None
        licence = (await ask("POST", "/v1/catalogue/codestral-22b/licence"))["licence"]
        assert (licence["accepted_by"], licence["allows_production"]) == ("Owner", False)
        again = (await ask("POST", "/v1/catalogue/codestral-22b/licence"))["licence"]
        assert again == licence
        other = await organisation_of(ask.platform.database, "customers", "owner")
        ask.key = await key_of(ask.platform.database, other, "owner")
        shown = (await ask("GET", "/v1/catalogue/codestral-22b"))["licence"]
        assert (shown["accepted_at"], shown["accepted_by"]) == (licence["accepted_at"], None)  # the operator's people
        ask.key = OPERATOR
        await ask("POST", "/v1/catalogue/brise/licence", status=409)
        await ask("POST", "/v1/catalogue/winds/unknown/licence", status=404)
        actions = [entry["action"] for entry in (await ask("GET", "/v1/audit"))["data"]]
        assert actions.count("licence.accept") == 1
        assert actions.count("model.lifecycle") == 2

    in_console(tmp_path, scenario)
