"""Secrets: how they are made, and what they show."""

from __future__ import annotations

import copy
import hashlib
import hmac
import string
from dataclasses import asdict, dataclass

from hypothesis import given
from hypothesis import strategies as st

from tramontane.accounts.secrets import Secret, digest, display_prefix, new_api_key, new_token


@dataclass
class _Holder:
    secret: Secret


@given(st.text(min_size=5, alphabet=string.ascii_letters))
def test_a_secret_shows_itself_only_when_asked(text: str) -> None:
    secret = Secret(text)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr([secret]), repr(_Holder(secret))]
    shown += [repr(asdict(_Holder(secret))), repr(copy.deepcopy(secret)), "%s %r" % (secret, secret)]  # noqa: UP031
    assert not any(text in form.replace("Secret", "") for form in shown)
    assert secret.reveal() == text
    assert not hasattr(secret, "__dict__")


def test_keys_are_long_random_and_easy_to_carry() -> None:
    keys = [new_api_key().reveal() for _ in range(1000)]
    assert len(set(keys)) == 1000
    for key in keys:
        assert key.startswith("tram_")
        assert set(key[5:]) <= set(string.ascii_letters + string.digits)
    assert 62 ** len(keys[0][5:]) >= 2**160
    assert len(set("".join(key[5:] for key in keys))) == 62
    assert len({new_token().reveal() for _ in range(1000)}) == 1000


def test_a_prefix_tells_keys_apart_and_gives_little_away() -> None:
    key = new_api_key()
    assert display_prefix(key) == key.reveal()[:9]
    assert display_prefix(Secret("chosen-by-a-person")) == "chos"
    assert display_prefix(Secret("tram_ab1cd2ef3gh")) == "tram"


@given(st.binary(min_size=32, max_size=32), st.text())
def test_a_digest_is_hmac_sha256(salt: bytes, text: str) -> None:
    assert digest(salt, text) == hmac.new(salt, text.encode(), hashlib.sha256).hexdigest()


def test_no_string_is_too_odd_to_be_digested() -> None:
    assert digest(b"salt", "\ud800") != digest(b"salt", "?")
