"""A small identity provider on the loopback: the code flow with PKCE, for one person who always agrees."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from aiohttp import BasicAuth, web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT_ID, CLIENT_SECRET = "tramontane", "canary-secret-of-a-client"

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
Forge = Callable[[dict[str, Any]], str]


@dataclass
class Idp:
    """What it says of the person, and how it signs; `forge` makes a token that is not what it should be."""

    issuer: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "ada-1"})
    key: Any = RSA_KEY
    key_id: str = "first"
    forge: Forge | None = None
    described: dict[str, Any] = field(default_factory=dict)  # laid over what it says of itself
    asked: list[str] = field(default_factory=list)  # the paths that were asked for
    tokens: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def algorithm(self) -> str:
        """Of its signatures."""
        return "ES256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "RS256"

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token as it should be."""
        return jwt.encode(claims, self.key, self.algorithm, {"kid": self.key_id, **header})

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/.well-known/openid-configuration", self._describe)
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _describe(self, request: web.Request) -> web.Response:
        described = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        return web.json_response({**described, **self.described})

    async def _keys(self, request: web.Request) -> web.Response:
        algorithm = ECAlgorithm if self.algorithm == "ES256" else RSAAlgorithm
        key = json.loads(algorithm.to_jwk(self.key.public_key()))
        secret = {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "shared"}
        return web.json_response({"keys": [secret, {**key, "kid": self.key_id, "use": "sig", "alg": self.algorithm}]})

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert query["client_id"] == CLIENT_ID
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(8)
        self._codes[code] = query
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        known = BasicAuth.decode(request.headers["authorization"])
        query = self._codes.get(str(form["code"]))  # kept: that a code works once is not what is tested here
        challenge = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        if (
            (known.login, known.password) != (CLIENT_ID, CLIENT_SECRET)
            or form["grant_type"] != "authorization_code"
            or query is None
            or form["redirect_uri"] != query["redirect_uri"]
            or base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != query["code_challenge"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        moment = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": moment, "exp": moment + 300, "nonce": query["nonce"]}
        token = (self.forge or self.sign)({**claims, **self.person})
        self.tokens.append(token)
        return web.json_response({"id_token": token, "access_token": "x", "token_type": "Bearer"})


@contextmanager
def running_idp() -> Iterator[Idp]:
    """An identity provider in a thread of its own, so that a test may block."""
    idp, loop, ready = Idp(), asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        runner = web.AppRunner(idp.application())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        idp.issuer = f"http://{host}:{port}"
        ended = asyncio.Event()
        end.append(lambda: loop.call_soon_threadsafe(ended.set))
        ready.set()
        await ended.wait()
        await runner.cleanup()

    end: list[Callable[[], Any]] = []
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(30)
    try:
        yield idp
    finally:
        end[0]()
        thread.join()
        loop.close()


def follow(url: str) -> str:
    """Where a page sends the browser."""

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.build_opener(NoRedirects).open(url, timeout=30)
    with answer.value as reply:
        return str(reply.headers["location"])
