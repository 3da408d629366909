"""The vault: what is encrypted is read again with the same key and in the same place only."""

from __future__ import annotations

import base64
import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tramontane.accounts.secrets import Secret
from tramontane.accounts.vault import Vault, VaultError

CANARY = "canary-key-of-a-provider"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.text(), st.text(st.characters(codec="utf-8")))
def test_a_secret_is_read_again_and_stored_unreadable(tmp_path: Path, text: str, context: str) -> None:
    vault = Vault.open(tmp_path)
    stored = vault.encrypt(Secret(text), context)
    assert Vault.open(tmp_path).decrypt(stored, context).reveal() == text
    assert stored != vault.encrypt(Secret(text), context)
    assert len(text) < 4 or text.encode("utf-8", "surrogatepass") not in stored
    with pytest.raises(VaultError, match="belongs elsewhere"):
        vault.decrypt(stored, context + "x")


def test_whatever_is_changed_is_refused(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path)
    stored = vault.encrypt(Secret(CANARY), "provider")
    for index in range(len(stored)):
        changed = bytearray(stored)
        changed[index] ^= 1
        with pytest.raises(VaultError):
            vault.decrypt(bytes(changed), "provider")
    for cut in (b"", stored[:5], stored[:20], stored[:-1], stored + b"\0"):
        with pytest.raises(VaultError):
            vault.decrypt(cut, "provider")


def test_the_key_is_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    Vault.open(tmp_path)
    assert list(tmp_path.iterdir()) == []  # made at first use
    Vault.open(tmp_path).encrypt(Secret(CANARY), "")
    (key,) = tmp_path.iterdir()
    assert key.name == "vault.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(base64.b64decode(key.read_text())) == 32


def test_of_many_who_make_the_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        stored = list(threads.map(lambda _: Vault.open(tmp_path).encrypt(Secret(CANARY), ""), range(64)))
    assert {Vault.open(tmp_path).decrypt(each, "").reveal() for each in stored} == {CANARY}
    assert [path.name for path in tmp_path.iterdir()] == ["vault.key"]


def test_a_chosen_key_leaves_the_environment_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = base64.b64encode(secrets.token_bytes(32)).decode()
    monkeypatch.setenv("TRAMONTANE_VAULT_KEY", chosen)
    stored = Vault.open(tmp_path).encrypt(Secret(CANARY), "")
    assert "TRAMONTANE_VAULT_KEY" not in os.environ
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("TRAMONTANE_VAULT_KEY", f" {chosen}\n")
    assert Vault.open(tmp_path).decrypt(stored, "").reveal() == CANARY
    with pytest.raises(VaultError, match=r"is lost: restore .*vault\.key or set TRAMONTANE_VAULT_KEY"):
        Vault.open(tmp_path).decrypt(stored, "")
    assert list(tmp_path.iterdir()) == []  # reading makes no key
    Vault.open(tmp_path).encrypt(Secret("another"), "")
    with pytest.raises(VaultError, match="another key"):
        Vault.open(tmp_path).decrypt(stored, "")


@pytest.mark.parametrize("bad", ["short", "not base64 at all!", base64.b64encode(bytes(31)).decode(), "é" * 44])
def test_a_key_that_is_none_is_refused_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("TRAMONTANE_VAULT_KEY", bad)
    with pytest.raises(VaultError, match="TRAMONTANE_VAULT_KEY holds no key") as refusal:
        Vault.open(tmp_path)
    assert bad not in str(refusal.value)
    (tmp_path / "vault.key").write_text(bad)
    with pytest.raises(VaultError, match=r"vault\.key holds no key"):
        Vault.open(tmp_path).encrypt(Secret(CANARY), "")


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "vault.key").mkdir()
    with pytest.raises(VaultError, match="see that the file is readable"):
        Vault.open(tmp_path).encrypt(Secret(CANARY), "")
