"""Passwords: digested by argon2id, slowly on purpose, and so a few at once and never in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tramontane.accounts.secrets import Secret
from tramontane.errors import InvalidRequestError, UnavailableError

T = TypeVar("T")

SHORTEST = 10  # characters
_AT_ONCE = 2  # each takes 64 MiB and some 0.1 s of a core
_MOST_WAITING = 50


class Passwords:
    """Makes digests of passwords and compares with them."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()  # argon2id, as RFC 9106 recommends where memory is not plentiful
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        self._waiting = 0

    async def digest(self, password: Secret) -> str:
        """For the database. Raises InvalidRequestError for a password that is too short."""
        if len(password.reveal()) < SHORTEST:
            raise InvalidRequestError("password", f"The password is too short: choose {SHORTEST} characters or more.")
        return await self._in_thread(lambda: self._hasher.hash(_bytes(password)))

    async def matches(self, password: Secret, digest: str | None) -> bool:
        """Whether the password is that of the digest; for None it takes as long, and it is not."""
        return await self._in_thread(lambda: self._compare(password, digest))

    def _compare(self, password: Secret, digest: str | None) -> bool:
        if digest is None:
            self._hasher.hash(_bytes(password))
            return False
        try:
            return self._hasher.verify(digest, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MOST_WAITING:
            raise UnavailableError("Too many people sign in at once: try again in a moment.", "busy")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _bytes(password: Secret) -> bytes:
    return password.reveal().encode("utf-8", "surrogatepass")
