"""Signing in by OpenID Connect: the authorisation code flow with PKCE, state and nonce (OpenID Connect Core 1.0).

What a sign-in that is under way has to remember is in a cookie that we have signed, so that nothing is stored for who
never comes back. The ID token is believed only with a signature of the provider's own keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from time import time
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode, urlsplit

import jwt

from tramontane.accounts.errors import AccountError
from tramontane.accounts.secrets import Secret, digest, new_token
from tramontane.errors import TramontaneError
from tramontane.outbound.client import Outbound
from tramontane.outbound.errors import OutboundError

LASTS = 600  # seconds that a sign-in may take
_ALGORITHMS = ("RS256", "ES256")  # by keys that only the provider has; never `none`, never a shared secret
_LEEWAY = 60  # seconds that clocks may differ
_KEPT = 3600.0  # seconds that the provider's description is
_KEYS_KEPT = 60.0  # its keys are asked for again at most so often
_PATIENCE = 10.0
_MOST_USED = 10_000
_VARIABLES = ("TRAMONTANE_OIDC_ISSUER", "TRAMONTANE_OIDC_CLIENT_ID", "TRAMONTANE_OIDC_CLIENT_SECRET")

Reason = Literal["cancelled", "expired", "invalid", "unknown", "address_taken", "unreachable", "invitation"]


class OidcError(TramontaneError):
    """A sign-in by the identity provider failed; `reason` is for the page, the message for the log."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class OidcSettings:
    """The identity provider, and how we are known to it."""

    issuer: str
    client_id: str
    client_secret: Secret
    name: str  # for the button

    @classmethod
    def read(cls, environment: MutableMapping[str, str]) -> OidcSettings | None:
        """From TRAMONTANE_OIDC_*; None where there are none. The secret is taken out, so that no child inherits it.

        Raises AccountError.
        """
        secret = environment.pop(_VARIABLES[2], "")
        values = {_VARIABLES[0]: environment.get(_VARIABLES[0]), _VARIABLES[1]: environment.get(_VARIABLES[1])}
        missing = [name for name, value in {**values, _VARIABLES[2]: secret}.items() if not value]
        if len(missing) == len(_VARIABLES):
            return None
        if missing:
            raise AccountError(f"Sign-in by an identity provider needs {missing[0]} too: set it, or none of the three.")
        issuer, client_id = environment[_VARIABLES[0]], environment[_VARIABLES[1]]
        if urlsplit(issuer).scheme not in ("https", "http") or not urlsplit(issuer).hostname or len(issuer) > 300:
            raise AccountError(f"{_VARIABLES[0]} is no address of an identity provider: write https://….")
        name = environment.get("TRAMONTANE_OIDC_NAME") or str(urlsplit(issuer).hostname)
        return cls(issuer, client_id, Secret(secret), name)


@dataclass(frozen=True)
class Identity:
    """Who somebody is, by the identity provider's word. `email` only where it says that it has verified it."""

    issuer: str
    subject: str
    email: str | None
    name: str


@dataclass(frozen=True)
class _Pending:
    """What a sign-in that is under way has to remember."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    invitation: str | None
    until: float


@dataclass(frozen=True)
class Begun:
    """Where the browser goes, and the cookie that it comes back with."""

    url: str
    cookie: Secret


class IdentityProvider:
    """Speaks with one identity provider."""

    def __init__(self, settings: OidcSettings, outbound: Outbound, clock: Callable[[], float] = time) -> None:
        self.settings = settings
        self._outbound, self._clock = outbound, clock
        self._metadata: tuple[float, Mapping[str, Any]] = (float("-inf"), {})
        self._keys: tuple[float, tuple[jwt.PyJWK, ...]] = (float("-inf"), ())
        self._used: dict[str, float] = {}  # states that came back, until they have expired

    async def begin(self, salt: bytes, redirect_uri: str, invitation: str | None) -> Begun:
        """Raises OidcError where the provider does not answer."""
        endpoint = self._endpoint(await self._describe(), "authorization_endpoint")
        state, nonce, verifier = (new_token().reveal() for _ in range(3))
        pending = _Pending(state, nonce, verifier, redirect_uri, invitation, self._clock() + LASTS)
        challenge = _base64(hashlib.sha256(verifier.encode()).digest())
        asked = {
            "response_type": "code",
            "scope": "openid email profile",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if urlsplit(endpoint).query else "?"
        return Begun(f"{endpoint}{separator}{urlencode(asked)}", _sign(salt, pending))

    async def finish(self, salt: bytes, cookie: str, query: Mapping[str, str]) -> tuple[Identity, str | None]:
        """Who came back, and the invitation's token that was given at the beginning. Raises OidcError."""
        pending = self._take(salt, cookie, query)
        if "error" in query:
            raise OidcError(f"The identity provider answered {query['error'][:60]!r}.", "cancelled")
        code, issuer = query.get("code"), query.get("iss", self.settings.issuer)
        if not code or issuer != self.settings.issuer:
            raise OidcError("The identity provider's answer has no code, or is another provider's.", "invalid")
        return self._identity(await self._claims(await self._redeem(code, pending), pending.nonce)), pending.invitation

    def _take(self, salt: bytes, cookie: str, query: Mapping[str, str]) -> _Pending:
        """The sign-in that a browser began, once."""
        pending, moment = _unsign(salt, cookie), self._clock()
        if pending is None or not hmac.compare_digest(pending.state.encode(), query.get("state", "").encode()):
            raise OidcError("No sign-in that this browser began came back.", "invalid")
        if pending.until <= moment:
            raise OidcError("The sign-in took too long.", "expired")
        if pending.state in self._used:
            raise OidcError("The sign-in came back a second time.", "expired")
        self._used[pending.state] = pending.until
        while (oldest := next(iter(self._used))) and (self._used[oldest] <= moment or len(self._used) > _MOST_USED):
            del self._used[oldest]
        return pending

    async def _redeem(self, code: str, pending: _Pending) -> str:
        """The ID token for a code."""
        described = await self._describe()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.verifier,
        }
        headers: dict[str, str | Secret] = {"content-type": "application/x-www-form-urlencoded"}
        known, secret = self.settings.client_id, self.settings.client_secret.reveal()
        methods = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_post" in methods and "client_secret_basic" not in methods:
            form |= {"client_id": known, "client_secret": secret}
        else:
            pair = f"{quote_plus(known)}:{quote_plus(secret)}".encode()
            headers["authorization"] = Secret(f"Basic {base64.b64encode(pair).decode()}")
        endpoint = self._endpoint(described, "token_endpoint")
        answer = await self._ask("POST", endpoint, headers=headers, data=urlencode(form).encode())
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcError("The identity provider gave no ID token.", "invalid")
        return token

    async def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """What the ID token says, once it is known to be the provider's, for us, for this sign-in, and fresh."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                issuer=self.settings.issuer,
                audience=self.settings.client_id,
                leeway=_LEEWAY,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.PyJWTError as error:
            raise OidcError(f"The identity provider's token is not valid: {error}.", "invalid") from None
        audience, party = claims["aud"], claims.get("azp")
        is_shared = isinstance(audience, list) and len(audience) > 1
        if party not in (None, self.settings.client_id) or (is_shared and party is None):
            raise OidcError("The identity provider's token is for another application.", "invalid")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode("utf-8", "replace"), nonce.encode()):
            raise OidcError("The identity provider's token is of another sign-in.", "invalid")
        return claims

    async def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        if header.get("alg") not in _ALGORITHMS:
            raise OidcError("The identity provider's token is not signed by RS256 or ES256.", "invalid")
        for fetch in (False, True):
            keys = await self._read_keys() if fetch else self._keys[1]
            fitting = [key for key in keys if key.algorithm_name == header["alg"]]
            named = [key for key in fitting if key.key_id == header.get("kid")]
            if named or ("kid" not in header and len(fitting) == 1):
                return (named or fitting)[0]
        raise OidcError("The identity provider's token is signed with a key that it does not publish.", "invalid")

    async def _read_keys(self) -> tuple[jwt.PyJWK, ...]:
        read, keys = self._keys
        if self._clock() - read < _KEYS_KEPT:
            return keys
        answer = await self._ask("GET", self._endpoint(await self._describe(), "jwks_uri"))
        try:
            found = tuple(
                key for key in jwt.PyJWKSet.from_dict(dict(answer)).keys if key.public_key_use in (None, "sig")
            )
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
            raise OidcError("The identity provider's keys cannot be read.", "unreachable") from None
        self._keys = (self._clock(), found)
        return found

    async def _describe(self) -> Mapping[str, Any]:
        read, described = self._metadata
        if self._clock() - read >= _KEPT:
            url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            described = await self._ask("GET", url)
            if described.get("issuer") != self.settings.issuer:
                raise OidcError("The identity provider calls itself by another name than its address.", "unreachable")
            self._metadata = (self._clock(), described)
        return described

    def _endpoint(self, described: Mapping[str, Any], name: str) -> str:
        url = described.get(name)
        if not isinstance(url, str) or urlsplit(url).scheme not in {"https", urlsplit(self.settings.issuer).scheme}:
            raise OidcError(f"The identity provider names no {name} that can be used.", "unreachable")
        return url

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str | Secret] | None = None, data: bytes | None = None
    ) -> Mapping[str, Any]:
        try:
            async with self._outbound.request(
                method, url, headers=headers, data=data, first_byte_seconds=_PATIENCE
            ) as response:
                answer = await response.json()
        except OutboundError as error:
            raise OidcError(str(error), "unreachable") from None
        if response.status != 200 or not isinstance(answer, dict):
            reason: Reason = "invalid" if method == "POST" and response.status < 500 else "unreachable"  # a bad code
            raise OidcError(f"The identity provider answered with status {response.status}.", reason)
        return answer

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject, email = claims["sub"], claims.get("email")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isascii() or "\0" in subject:
            raise OidcError("The identity provider names a subject that is none.", "invalid")
        verified = email if isinstance(email, str) and claims.get("email_verified") is True and "@" in email else None
        name = next((claims[key] for key in ("name", "preferred_username") if isinstance(claims.get(key), str)), "")
        return Identity(
            self.settings.issuer, subject, verified, _plain(name) or _plain(verified or "") or subject[:200]
        )


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "").strip()[:200]


def _sign(salt: bytes, pending: _Pending) -> Secret:
    payload = _base64(json.dumps(asdict(pending)).encode())
    return Secret(f"{payload}.{digest(salt, f'oidc {payload}')}")


def _unsign(salt: bytes, cookie: str) -> _Pending | None:
    payload, _, mark = cookie.rpartition(".")
    if not hmac.compare_digest(mark.encode("utf-8", "replace"), digest(salt, f"oidc {payload}").encode()):
        return None
    return _Pending(**json.loads(base64.urlsafe_b64decode(payload + "==")))


def _base64(content: bytes) -> str:
    """As URLs and cookies take it."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
