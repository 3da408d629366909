"""Secrets: how they are made, shown and remembered. Only digests are stored."""

from __future__ import annotations

import hmac
import secrets
import string

_PREFIX = "tram_"
_ALPHABET = string.ascii_letters + string.digits


class Secret:
    """A string that shows itself only to whoever asks for it by `reveal`: not in logs, not in tracebacks."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('****')"

    def __str__(self) -> str:
        return "****"


def new_api_key() -> Secret:
    """A key with 190 random bits. Letters and digits only: a double click selects it, and no URL or shell minds it."""
    return Secret(_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(32)))


def new_token() -> Secret:
    """256 random bits, for links and browser sessions."""
    return Secret(secrets.token_urlsafe(32))


def new_salt() -> bytes:
    """What an installation's secrets are digested with."""
    return secrets.token_bytes(32)


def display_prefix(key: Secret) -> str:
    """How a key is recognised in a list: its first 9 characters, or 4 where a person chose it and it may be short."""
    shown = 9 if len(key.reveal()) == len(_PREFIX) + 32 and key.reveal().startswith(_PREFIX) else 4
    return key.reveal()[:shown]


def digest(salt: bytes, secret: str) -> str:
    """HMAC-SHA256 in hex. Fast, as each request pays for it: secrets of 128 random bits need no slow digest."""
    # surrogatepass: no string that a client can send is an error here
    return hmac.digest(salt, secret.encode("utf-8", "surrogatepass"), "sha256").hex()
