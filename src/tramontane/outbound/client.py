"""The one way out: no redirects, no proxies, checked addresses, bounded answers, and patience that ends."""

from __future__ import annotations

import asyncio
import ipaddress
import json as json_module
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp
from yarl import URL

from tramontane.errors import InvalidRequestError
from tramontane.outbound.addresses import CheckedResolver, Reach, check_address
from tramontane.outbound.errors import OutboundError, RefusedAddressError

_CONNECT_SECONDS = 5.0
FIRST_BYTE_SECONDS = 120.0
NEXT_BYTE_SECONDS = 60.0

_MOST_CONNECTIONS = 512
_KEPT_SECONDS = 4.0  # idle connections; servers often close theirs after five, and who comes just then gets no answer
_MOST_BYTES = 8 * 2**20


class Revealable(Protocol):
    """A secret, as accounts have them: shown to nobody on the way."""

    def reveal(self) -> str:
        """The secret itself."""


class Response:
    """What another server answers; its body is read as it comes, and never beyond a bound."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def next_bytes(self, seconds: float = NEXT_BYTE_SECONDS) -> bytes:
        """What comes next of the body, b"" at its end; raises OutboundError where it breaks off, or nothing comes."""
        try:
            async with asyncio.timeout(seconds):
                return await self._response.content.readany()
        except TimeoutError:
            raise OutboundError(f"{_name(self._response.url)} stopped in the middle of its answer.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise OutboundError(f"{_name(self._response.url)} broke off its answer{_why(error)}.") from None

    async def read(self, most: int = _MOST_BYTES) -> bytes:
        """The whole body; raises OutboundError where it is larger than `most` bytes."""
        body = bytearray()
        while chunk := await self.next_bytes():
            body += chunk
            if len(body) > most:
                raise OutboundError(f"{_name(self._response.url)} answered with more than {most:,} bytes.")
        return bytes(body)

    def close(self) -> None:
        """Closes the connection, also under whoever waits for what comes next; after a whole body it goes back."""
        self._response.close()

    async def json(self, most: int = _MOST_BYTES) -> Any:
        """The body as JSON; raises OutboundError where it is something else."""
        body = await self.read(most)
        try:
            return json_module.loads(body)
        except (ValueError, RecursionError):
            raise OutboundError(f"{_name(self._response.url)} answered with something that is not JSON.") from None


class Outbound:
    """Calls other servers. One for a process; its pools are made when they are first needed.

    https leads anywhere but to where networks keep secrets, http to this machine and its private networks only.
    """

    def __init__(self, *, public_means_public: bool = True) -> None:
        """`public_means_public` False: `public_only` calls may be private as well, by the operator's word."""
        self._public_means_public = public_means_public
        self._sessions: dict[Reach, aiohttp.ClientSession] = {}

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str | Revealable] | None = None,
        json: Any = None,
        data: bytes | None = None,
        public_only: bool = False,
        first_byte_seconds: float = FIRST_BYTE_SECONDS,
    ) -> AsyncIterator[Response]:
        """A call, as `send` makes it, whose answer is closed where the block is left."""
        response = await self.send(
            method,
            url,
            headers=headers,
            json=json,
            data=data,
            public_only=public_only,
            first_byte_seconds=first_byte_seconds,
        )
        try:
            yield response
        finally:
            response.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str | Revealable] | None = None,
        json: Any = None,
        data: bytes | None = None,
        public_only: bool = False,
        first_byte_seconds: float = FIRST_BYTE_SECONDS,
    ) -> Response:
        """A call; the caller closes the response, early where nobody reads on, so that the other side stops as well.

        Raises OutboundError: RefusedAddressError where it must not be called. A redirect is an answer like any other.
        """
        target, reach = self._check(url, public_only)
        sent = {name: value if isinstance(value, str) else value.reveal() for name, value in (headers or {}).items()}
        if json is not None:
            data, sent = json_module.dumps(json).encode(), {**sent, "content-type": "application/json"}
        timeout = aiohttp.ClientTimeout(
            total=None, connect=_CONNECT_SECONDS, sock_connect=_CONNECT_SECONDS, sock_read=first_byte_seconds
        )
        try:
            response = await self._session(reach).request(
                method, target, headers=sent, data=data, timeout=timeout, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a header that holds a line end
            raise OutboundError(f"{_name(target)} does not answer{_why(error)}.") from None
        return Response(response)

    async def close(self) -> None:
        """Closes all connections."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def check(self, url: str, *, public_only: bool = False) -> None:
        """Raises InvalidRequestError or RefusedAddressError for a URL of which it shows without a call."""
        self._check(url, public_only)

    def _check(self, url: str, public_only: bool) -> tuple[URL, Reach]:
        target = check_url(url)
        reach = self._reach(target, public_only)
        _check_literal(target, reach)
        return target, reach

    def _reach(self, url: URL, public_only: bool) -> Reach:
        public = public_only and self._public_means_public
        if url.scheme == "http" and public:
            raise RefusedAddressError(f"{_name(url)} is to be called by https: by http others could read along.")
        return "private" if url.scheme == "http" else "public" if public else "anywhere"

    def _session(self, reach: Reach) -> aiohttp.ClientSession:
        """A pool for each reach: a connection that one of them may have is not given to another."""
        if reach not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=_MOST_CONNECTIONS,
                resolver=CheckedResolver(reach),
                keepalive_timeout=_KEPT_SECONDS,
                ssl=ssl.create_default_context(),
            )
            self._sessions[reach] = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"accept-encoding": "identity", "user-agent": "tramontane"},
            )
        return self._sessions[reach]


def check_url(url: str) -> URL:
    """A URL that can be called; raises InvalidRequestError. Whether it may be shows when its name is looked up."""
    try:
        parsed = URL(url)
        host, port = parsed.host, parsed.port
    except ValueError:
        raise InvalidRequestError("url", f"{url[:200]!r} is no URL.") from None
    if parsed.scheme not in ("http", "https") or not host or port is None:
        raise InvalidRequestError("url", f"{url[:200]!r} is no URL that begins with https:// or http://.")
    if parsed.user is not None or parsed.password is not None:
        raise InvalidRequestError("url", "A URL must hold no user and no password: keys are given apart.")
    if host.replace(".", "").isdecimal() and not _is_address(host):
        # 2130706433 and 127.1 are addresses to the system, and for who looks names up they are none.
        raise InvalidRequestError("url", f"{host[:100]} is no address as it is written: write its four numbers.")
    return parsed


def _check_literal(url: URL, reach: Reach) -> None:
    """An address in place of a name is not looked up, so nobody else checks it."""
    assert url.host is not None
    if _is_address(url.host):
        check_address(url.host, url.host, reach)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _name(url: URL) -> str:
    return f"{url.host}:{url.port}"


def _why(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return ": its certificate is not valid for us"
        case aiohttp.ClientConnectorDNSError():
            return ": its name is not known"
        case aiohttp.ClientConnectorError():
            return f": {os.strerror(error.os_error.errno).lower() if error.os_error.errno else 'no connection'}"
        case TimeoutError():
            return " in time"
        case aiohttp.ServerDisconnectedError():
            return ": it hung up"
    return ""
