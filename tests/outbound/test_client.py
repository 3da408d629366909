"""The one way out: what it calls, what it refuses, and how long and how much it listens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from tramontane.accounts.secrets import Secret
from tramontane.errors import InvalidRequestError
from tramontane.outbound import client
from tramontane.outbound.addresses import CheckedResolver
from tramontane.outbound.client import Outbound
from tramontane.outbound.errors import OutboundError, RefusedAddressError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[Outbound, int]]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outbound = Outbound()
    try:
        yield outbound, runner.addresses[0][1]
    finally:
        await outbound.close()
        await runner.cleanup()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(main())


async def echo(request: web.Request) -> web.StreamResponse:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return web.json_response({"headers": headers, "body": (await request.read()).decode(), "path": request.path_qs})


def test_a_call_is_sent_as_it_is_and_nothing_is_added_that_tells() -> None:
    async def scenario() -> None:
        async with serving(echo) as (outbound, port):
            url = f"http://127.0.0.1:{port}/v1/x?y=1"
            async with outbound.request("POST", url, headers={"api-key": Secret("canary")}, json={"é": 1}) as response:
                seen = await response.json()
        assert response.status == 200
        assert seen["headers"]["api-key"] == "canary"
        assert seen["headers"]["accept-encoding"] == "identity"
        assert seen["headers"]["user-agent"] == "tramontane"
        assert (seen["body"], seen["path"]) == ('{"\\u00e9": 1}', "/v1/x?y=1")
        assert "cookie" not in seen["headers"]

    run(scenario)


def test_no_proxy_of_the_environment_reads_along(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scenario() -> None:
        async with serving(echo) as (outbound, port), outbound.request("GET", f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200

    run(scenario)


def test_redirects_and_cookies_lead_nowhere() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path != "/":
            raise AssertionError("followed")
        response = web.Response(status=302, headers={"location": "/elsewhere"})
        response.set_cookie("a", "b")
        return response if "cookie" not in request.headers else web.Response(status=500)

    async def scenario() -> None:
        async with serving(handler) as (outbound, port):
            for _ in range(2):
                async with outbound.request("GET", f"http://127.0.0.1:{port}/") as response:
                    assert response.status == 302

    run(scenario)


@pytest.mark.parametrize(
    "url",
    ["ftp://x/", "file:///etc/passwd", "//x", "http:///v1", "https://user:secret@x/", "https://x:99999/", "", "x.y"],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(InvalidRequestError) as refused:
            await Outbound().send("GET", url)
        assert "secret" not in str(refused.value).replace(url, "")

    run(scenario)


@pytest.mark.parametrize(
    ("url", "public_only"),
    [
        ("http://169.254.169.254/latest/meta-data", False),
        ("https://169.254.169.254/", False),
        ("http://[::ffff:a9fe:a9fe]/", False),
        ("http://9.9.9.9/", False),
        ("https://127.0.0.1/", True),
        ("https://localhost/", True),
        ("http://9.9.9.9/", True),
    ],
)
def test_what_must_not_be_called_is_not_called(url: str, public_only: bool) -> None:
    async def scenario() -> None:
        outbound = Outbound()
        try:
            with pytest.raises(RefusedAddressError):
                await outbound.send("GET", url, public_only=public_only)
        finally:
            await outbound.close()

    run(scenario)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "0"])
def test_other_spellings_of_an_address_hide_nothing(host: str) -> None:
    async def scenario() -> None:
        async with serving(echo) as (outbound, port):
            with pytest.raises(RefusedAddressError if "x" in host else InvalidRequestError):
                await outbound.send("GET", f"https://{host}:{port}/", public_only=True)

    run(scenario)


def test_public_may_be_private_by_the_operators_word() -> None:
    async def scenario() -> None:
        async with serving(echo) as (_, port):
            outbound = Outbound(public_means_public=False)
            async with outbound.request("GET", f"http://127.0.0.1:{port}/", public_only=True) as response:
                assert response.status == 200
            await outbound.close()

    run(scenario)


class TwoFaced(AbstractResolver):
    """A name that is harmless when it is looked at, and something else when it is called."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        addresses = self.answers.pop(0)
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0)
            for one in addresses
        ]

    async def close(self) -> None: ...


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    names = TwoFaced(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(client, "CheckedResolver", lambda reach: CheckedResolver(reach, lambda: names))

    async def scenario() -> None:
        async with serving(echo) as (outbound, port):
            async with outbound.request("GET", f"http://rebinding.example:{port}/") as response:
                assert (await response.json())["headers"]["host"] == f"rebinding.example:{port}"
            assert len(names.answers) == 1, "it was looked up once"
            with pytest.raises(RefusedAddressError):
                await outbound.send("GET", "http://rebinding.example:1/")

    run(scenario)


def test_one_bad_address_spoils_all() -> None:
    async def scenario() -> None:
        resolver = CheckedResolver("anywhere", lambda: TwoFaced(["127.0.0.1", "169.254.169.254"]))
        with pytest.raises(RefusedAddressError):
            await resolver.resolve("x")

    run(scenario)


def test_what_does_not_answer_is_said_without_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> None:
        async with serving(silent) as (outbound, port):
            with pytest.raises(OutboundError) as failed:
                await outbound.send("GET", f"http://127.0.0.1:{port}/secret-path", first_byte_seconds=0.05)
            assert str(failed.value) == f"127.0.0.1:{port} does not answer in time."
        with pytest.raises(OutboundError, match="refused") as failed:
            await outbound.send("GET", f"http://127.0.0.1:{port}/secret-path")
        assert "secret" not in str(failed.value)
        with pytest.raises(OutboundError, match="name is not known"):
            await outbound.send("GET", "https://no-such-host.invalid/")
        await outbound.close()

    run(scenario)


def test_bodies_have_a_bound_and_patience_an_end() -> None:
    hung_up = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(b"x" * 1000)
            if request.path == "/stalls":
                await asyncio.Event().wait()
            while True:
                await response.write(b"x" * 10_000)
        except (ConnectionError, asyncio.CancelledError):
            hung_up.set()
            raise

    async def scenario() -> None:
        async with serving(endless) as (outbound, port):
            async with outbound.request("GET", f"http://127.0.0.1:{port}/") as response:
                with pytest.raises(OutboundError, match="more than 50,000 bytes"):
                    await response.read(50_000)
            await hung_up.wait()
            hung_up.clear()
            async with outbound.request("GET", f"http://127.0.0.1:{port}/stalls") as response:
                assert await response.next_bytes() == b"x" * 1000
                with pytest.raises(OutboundError, match="stopped in the middle"):
                    await response.next_bytes(0.05)
            await hung_up.wait()

    run(scenario)


def test_what_is_no_json_is_said_to_be_none() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>", content_type="application/json")

    async def scenario() -> None:
        async with serving(handler) as (outbound, port), outbound.request("GET", f"http://127.0.0.1:{port}/") as got:
            with pytest.raises(OutboundError, match="not JSON"):
                await got.json()

    run(scenario)
