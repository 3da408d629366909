"""Passwords, and how often they may be tried."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from tests.accounts.making import Made, organisation_of
from tests.storage.places import Place
from tramontane.accounts import passwords as module
from tramontane.accounts import throttle
from tramontane.accounts.audit import Actor
from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.passwords import Passwords
from tramontane.accounts.secrets import Secret
from tramontane.accounts.sessions import Opened, open_session
from tramontane.accounts.sign_in import SignIns, WrongCredentialsError
from tramontane.accounts.tables import User
from tramontane.accounts.throttle import Throttle, network_of
from tramontane.errors import InvalidRequestError, RateLimitedError, UnavailableError
from tramontane.storage.database import Database

PASSWORD = Secret("canary password of ten")
WRONG = Secret("wrong password of ten")
OWNER = "owner@wind.example"


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return self.passed


def quick(clock: Clock) -> SignIns:
    """With digests that cost next to nothing, for what is not about them."""
    sign_ins = SignIns(clock)
    sign_ins.passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return sign_ins


async def with_password(db: Database, sign_ins: SignIns) -> Made:
    made = await organisation_of(db, "wind.example", "owner", "admin")
    digest = await sign_ins.passwords.digest(PASSWORD)
    async with db.write() as session:
        await session.execute(update(User).where(User.id == made.users["owner"]).values(password_hash=digest))
    return made


def test_a_password_is_kept_as_argon2id() -> None:
    async def scenario() -> None:
        passwords = Passwords()
        digest = await passwords.digest(PASSWORD)
        assert digest.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert len(digest) <= 200
        assert digest != await passwords.digest(PASSWORD)  # each has a salt of its own
        assert await passwords.matches(PASSWORD, digest)
        for other in (WRONG, Secret(PASSWORD.reveal().upper()), Secret(PASSWORD.reveal() + " "), Secret("\ud800")):
            assert not await passwords.matches(other, digest)
        assert not await passwords.matches(PASSWORD, None)
        assert not await passwords.matches(PASSWORD, "no digest")
        for short in ("", "ninechars"):
            with pytest.raises(InvalidRequestError, match="10 characters or more") as refusal:
                await passwords.digest(Secret(short))
            assert not short or short not in str(refusal.value)

    asyncio.run(scenario())


def test_few_passwords_are_tried_at_once_and_others_wait_or_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 5)

    async def scenario() -> None:
        passwords, running, most = Passwords(), 0, 0

        class Counting:
            def hash(self, password: bytes) -> str:
                nonlocal running, most
                running += 1
                most = max(most, running)
                digest = real.hash(password)
                running -= 1
                return digest

        real = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
        passwords._hasher = Counting()  # type: ignore[assignment]
        tries: list[Any] = await asyncio.gather(
            *(passwords.matches(PASSWORD, None) for _ in range(7)), return_exceptions=True
        )
        assert [each for each in tries if each is False] == [False] * 5
        assert len([each for each in tries if isinstance(each, UnavailableError)]) == 2
        assert most <= 2
        assert await passwords.matches(PASSWORD, None) is False  # there is room again

    asyncio.run(scenario())


# ── signing in ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_password_opens_a_session(place: Place) -> None:
    async def scenario(db: Database) -> None:
        sign_ins = quick(Clock())
        made = await with_password(db, sign_ins)
        opened = await sign_ins.by_password(db, " Owner@Wind.example", PASSWORD, "192.0.2.1")
        principal = await Authenticator(db).by_session(opened.token.reveal())
        assert principal is not None
        assert (principal.user_id, principal.workspace_id) == (made.users["owner"], made.workspace_id)

    place.run(scenario)


def test_whether_an_account_exists_shows_neither_in_words_nor_in_time(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        sign_ins = SignIns(Clock())
        await with_password(db, sign_ins)
        seconds: dict[str, list[float]] = {}
        # A wrong password, an account without a password, and no account.
        for account in (OWNER, "admin@wind.example", "nobody@wind.example") * 2:
            begun = perf_counter()
            with pytest.raises(WrongCredentialsError, match=r"^The address or the password is wrong\.$"):
                await sign_ins.by_password(db, account, WRONG, "192.0.2.1")
            seconds.setdefault(account, []).append(perf_counter() - begun)
        fastest = [min(each) for each in seconds.values()]
        assert max(fastest) < 3 * min(fastest)  # without the digest it would be fifty times

    Place(None, tmp_path).run(scenario)  # the database's part of the time is nothing


def test_who_belongs_to_nothing_any_more_cannot_sign_in(place: Place) -> None:
    async def scenario(db: Database) -> None:
        sign_ins = quick(Clock())
        digest = await sign_ins.passwords.digest(PASSWORD)
        await organisation_of(db, "wind.example", "owner")
        async with db.write() as session:
            session.add(User(name="Left", email="left@wind.example", password_hash=digest))
        with pytest.raises(WrongCredentialsError):
            await sign_ins.by_password(db, "left@wind.example", PASSWORD, "")

    place.run(scenario)


@contextmanager
def throttled() -> Iterator[None]:
    with pytest.raises(RateLimitedError, match="too many tries") as refusal:
        yield
    assert 0 < refusal.value.retry_after <= 600


def test_tries_are_counted_for_each_account_and_each_address(place: Place) -> None:
    async def scenario(db: Database) -> None:
        clock = Clock()
        sign_ins = quick(clock)
        await with_password(db, sign_ins)

        async def fail(account: str, address: str) -> None:
            with pytest.raises(WrongCredentialsError):
                await sign_ins.by_password(db, account, WRONG, address)

        for number in range(10):
            await fail(OWNER, f"192.0.2.{number}")
        with throttled():  # from anywhere, and with the right password: a guesser learns nothing
            await sign_ins.by_password(db, OWNER.upper(), PASSWORD, "192.0.2.99")
        for number in range(20):
            await fail(f"{number}@wind.example", "2001:db8::1")
        with throttled():  # the same network
            await sign_ins.by_password(db, "another@wind.example", PASSWORD, "2001:db8::2")
        await fail("another@wind.example", "2001:db8:0:1::2")
        clock.passed += 30.0
        await fail(OWNER, "192.0.2.99")
        with throttled():
            await sign_ins.by_password(db, OWNER, PASSWORD, "192.0.2.99")
        clock.passed += 30.0
        for _ in range(12):  # what succeeds does not count
            assert isinstance(await sign_ins.by_password(db, OWNER, PASSWORD, "192.0.2.99"), Opened)

    place.run(scenario)


def test_a_new_password_ends_other_sessions_and_needs_the_old_one(place: Place) -> None:
    async def scenario(db: Database) -> None:
        sign_ins, authenticator = quick(Clock()), Authenticator(db)
        made = await with_password(db, sign_ins)
        user = made.users["owner"]
        first, second = [await sign_ins.by_password(db, OWNER, PASSWORD, "") for _ in range(2)]
        async with db.write() as session:
            others = await open_session(session, made.users["admin"], by="link", address="")
        assert others is not None

        async def change(current: Secret | None) -> None:
            await sign_ins.change_password(
                db, Actor(made.id, user), first.session_id, current, Secret("the new one"), ""
            )

        for current in (None, WRONG):
            with pytest.raises(WrongCredentialsError, match="present password"):
                await change(current)
        await change(PASSWORD)
        authenticator.forget(user)
        alive = [await authenticator.by_session(each.token.reveal()) is not None for each in (first, second, others)]
        assert alive == [True, False, True]
        with pytest.raises(WrongCredentialsError):
            await sign_ins.by_password(db, OWNER, PASSWORD, "")
        await sign_ins.by_password(db, OWNER, Secret("the new one"), "")

    place.run(scenario)


# ── the throttle ────────────────────────────────────────────────────────────────────────────────────────────────────


def refused_for(limited: Throttle, who: str) -> float:
    try:
        limited.take(who)
    except RateLimitedError as refusal:
        return refusal.retry_after
    return 0


@given(
    st.integers(1, 5),
    st.integers(1, 100),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 150)), max_size=40),
)
def test_nobody_has_more_tries_than_a_bucket_holds(burst: int, seconds: int, tries: list[tuple[str, int]]) -> None:
    """In any time T at most `burst + T / seconds` pass, and whoever waits as told is let through."""
    clock = Clock()
    limited, passed = Throttle(burst, seconds, clock), dict[str, list[float]](a=[], b=[])
    for who, pause in tries:
        clock.passed += pause
        wait = refused_for(limited, who)
        if wait:
            clock.passed += wait
            limited.take(who)
        passed[who].append(clock.passed)
        assert 0 <= wait <= seconds
    for moments in passed.values():
        for index, start in enumerate(moments):
            for number, end in enumerate(moments[index:], 1):
                assert number <= burst + (end - start) / seconds + 1e-6


def test_the_memory_of_tries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_MOST", 3)
    limited = Throttle(1, 10.0, Clock())
    for who in "abcdabcd":
        limited.take(who)  # who tried longest ago is forgotten
    with pytest.raises(RateLimitedError):
        limited.take("d")
    assert len(limited._full_at) == 3


def test_a_network_is_what_one_connection_has() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::") != network_of("2001:db8:1:3::")
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("") == ""
