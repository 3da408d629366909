"""Secrets that must be read again, encrypted at rest: keys of providers, and what webhooks are signed with.

AES-256-GCM, with a key that is not in the database: TRAMONTANE_VAULT_KEY (32 bytes in base64), or the file `vault.key`
in the data folder, made at first use. Each text is bound to a context, such as the row that it belongs to: moved to
another row it cannot be read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tramontane.accounts.secrets import Secret
from tramontane.errors import UnavailableError

_VARIABLE = "TRAMONTANE_VAULT_KEY"
_FORMAT = b"\x01"
_KEY_BYTES, _MARK_BYTES, _NONCE_BYTES = 32, 8, 12


class VaultError(UnavailableError):
    """A secret cannot be kept or read; the message says what is wrong with the key."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "vault_key")


class Vault:
    """Encrypts and decrypts with one key."""

    def __init__(self, path: Path, key: bytes | None) -> None:
        self._path, self._key = path, key

    @classmethod
    def open(cls, home: Path) -> Vault:
        """The vault of an installation; no file is read or made yet. Raises VaultError for a bad variable."""
        chosen = os.environ.pop(_VARIABLE, None)  # no child process inherits it
        return cls(home / "vault.key", _decode(chosen, _VARIABLE) if chosen else None)

    def encrypt(self, secret: Secret, context: str) -> bytes:
        """What can be stored. Raises VaultError where there is no key, and none can be made."""
        key, nonce = self._open_key(make=True), secrets.token_bytes(_NONCE_BYTES)
        text = secret.reveal().encode("utf-8", "surrogatepass")
        return _FORMAT + _mark(key) + nonce + AESGCM(key).encrypt(nonce, text, context.encode())

    def decrypt(self, stored: bytes, context: str) -> Secret:
        """The secret again. Raises VaultError for a lost or another key, and for what was changed or moved."""
        key = self._open_key(make=False)
        mark, rest = stored[1 : 1 + _MARK_BYTES], stored[1 + _MARK_BYTES :]
        if stored[:1] != _FORMAT:
            raise VaultError("A stored secret is of a form that this version does not read: enter it anew.")
        if mark != _mark(key):
            raise VaultError(
                f"A stored secret was encrypted with another key: restore {_VARIABLE} or {self._path} as it was then, "
                "or enter the secret anew."
            )
        try:
            text = AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode())
        except InvalidTag:
            raise VaultError("A stored secret was changed, or belongs elsewhere: enter it anew.") from None
        return Secret(text.decode("utf-8", "surrogatepass"))

    def _open_key(self, make: bool) -> bytes:
        if self._key is None:
            try:
                self._key = self._read() or (self._make() if make else None)
            except OSError as error:
                raise VaultError(
                    f"The vault's key {self._path} cannot be used ({error.strerror}): see that the file is readable."
                ) from None
        if self._key is None:
            raise VaultError(
                f"The key that stored secrets were encrypted with is lost: restore {self._path} or set {_VARIABLE}, "
                "or enter the secrets anew."
            )
        return self._key

    def _read(self) -> bytes | None:
        try:
            return _decode(self._path.read_text(encoding="ascii", errors="replace"), str(self._path))
        except FileNotFoundError:
            return None

    def _make(self) -> bytes | None:
        """Written whole and then linked: of two processes at once one makes it, and the other reads that."""
        draft = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())  # what is encrypted with it must not outlive it
            with contextlib.suppress(FileExistsError):
                os.link(draft, self._path)
        finally:
            draft.unlink(missing_ok=True)
        return self._read()


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise VaultError(f"{where} holds no key: it has to be {_KEY_BYTES} random bytes in base64.")
    return key


def _mark(key: bytes) -> bytes:
    """Tells keys apart, and tells nothing of them."""
    return hashlib.sha256(b"tramontane vault key " + key).digest()[:_MARK_BYTES]
