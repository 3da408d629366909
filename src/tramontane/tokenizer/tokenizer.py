"""Text ↔ tokens, for every tokenizer of the Mistral family: SentencePiece (v1–v7) and tekken (v3–v15)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from mistral_common.exceptions import MistralCommonException
from mistral_common.tokens.tokenizers.base import InstructTokenizer, TokenizerVersion
from mistral_common.tokens.tokenizers.instruct import (
    InstructTokenizerV1,
    InstructTokenizerV2,
    InstructTokenizerV3,
    InstructTokenizerV7,
    InstructTokenizerV11,
    InstructTokenizerV13,
    InstructTokenizerV15,
)
from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from tramontane.errors import TokenizerError
from tramontane.tokenizer.files import (
    REQUIRED_CONTROL_TOKENS,
    find_tokenizer_file,
    missing_control_tokens,
    named_spm_version,
    version_of_control_tokens,
)

_INSTRUCT_TOKENIZERS: dict[int, type[InstructTokenizerV1[Any, Any, Any]]] = {
    1: InstructTokenizerV1,
    2: InstructTokenizerV2,
    3: InstructTokenizerV3,
    7: InstructTokenizerV7,
    11: InstructTokenizerV11,
    13: InstructTokenizerV13,
    15: InstructTokenizerV15,
}

_BLANK = "▁"  # how SentencePiece writes a blank inside a piece
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
_LONGEST_PART = 100_000

# What the libraries below raise on a file that is damaged or not a tokenizer.
_LOADING_ERRORS = (
    MistralCommonException, AssertionError, AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


class Tokenizer:
    """One tokenizer file. Immutable once loaded, so threads may share it.

    `vocab_size` counts every id, control tokens included; `version` (1, 2, 3, 7, 11, 13 or 15) is that of the chat
    template; `fingerprint` is a digest of the file and its version, equal for equal tokenizers; `byte_table[id]` is
    `token_bytes(id)` for all ids; `instruct` is mistral-common's encoder of the version's template.
    """

    def __init__(self, base: SentencePieceTokenizer | Tekkenizer, digest: str) -> None:
        self.kind: Literal["spm", "tekken"] = "tekken" if isinstance(base, Tekkenizer) else "spm"
        self.version: int = base.version.version_num
        self.vocab_size: int = base.n_words
        self.bos_id: int = base.bos_id
        self.eos_id: int = base.eos_id
        self.fingerprint = hashlib.sha256(f"{self.kind} v{self.version} {digest}".encode()).hexdigest()
        self.control_names = _control_names(base)
        self.byte_table = _byte_table(base, self.control_names)
        if any(base.get_special_token(name) != token_id for token_id, name in self.control_names.items()):
            # mistral-common encodes by their ranks and decodes by their places.
            raise TokenizerError("Its special tokens are not in the order of their ranks.")
        self._base = base
        self._control_ids = {name: token_id for token_id, name in self.control_names.items()}
        self._blank_pieces = _blank_pieces(base)
        # mistral-common looks control tokens up by name, and takes an absent one for <unk> in SentencePiece files.
        if missing := missing_control_tokens(self.version, self._control_ids):
            raise TokenizerError(f"The tokenizer says it is v{self.version} but lacks {', '.join(missing)}.")
        if base.version.supports_model_settings and base.model_settings_builder is None:
            raise TokenizerError(f"The tokenizer says it is v{self.version} but lacks its model_settings_builder.")
        self.instruct: InstructTokenizer[Any, Any, Any] = _INSTRUCT_TOKENIZERS[self.version](base)

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """The tokenizer of a checkpoint folder; TokenizerError tells what is missing."""
        return cls.from_file(find_tokenizer_file(Path(folder)))

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """A tekken JSON file, or a SentencePiece model whose version is in its name or else in its control tokens."""
        path = Path(path)
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            base = Tekkenizer.from_file(path) if path.suffix == ".json" else _load_spm(path)
            return cls(base, digest)
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from error
        except _LOADING_ERRORS as error:
            raise TokenizerError(f"{path} is not a tokenizer that Tramontane reads: {_reason(error)}") from error

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """The ids of a text. Text never becomes a control token: "[INST]" in it is six ordinary characters.

        Half a surrogate pair, which JSON can carry and Unicode text cannot, is encoded as U+FFFD.
        """
        text = _well_formed(text)
        try:
            return self._base.encode(text, bos=bos, eos=eos)
        except ValueError:
            # tiktoken's regular expression gives up on some millions of blanks in a row: cut the text in parts.
            cuts = range(0, len(text), _LONGEST_PART)
            ids = [i for cut in cuts for i in self._base.encode(text[cut : cut + _LONGEST_PART], bos=False, eos=False)]
            return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids. Control tokens, and ids outside the vocabulary, say nothing.

        As in both libraries, a control token ends a character that was still incomplete; invalid UTF-8 becomes U+FFFD.
        SentencePiece's dummy blank before the first word is dropped.
        """
        runs = [bytearray()]
        first = True
        for token_id in ids:
            if token_id in self.control_names:
                runs.append(bytearray())
                continue
            runs[-1] += self.first_bytes(token_id) if first else self.token_bytes(token_id)
            first = False
        return "".join(run.decode("utf-8", "replace") for run in runs)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token contributes inside a text; b"" for control tokens and ids outside the vocabulary.

        SentencePiece: each ▁ of a piece is a blank, so the bytes of every piece that begins a word begin with a blank,
        also at the beginning of a text, where `first_bytes` drops it; `<0x0A>` is the byte 10.
        Tekken: the bytes of the entry.
        """
        return self.byte_table[token_id] if 0 <= token_id < self.vocab_size else b""

    def first_bytes(self, token_id: int) -> bytes:
        """What the token contributes as the first of a text: SentencePiece puts one ▁ there that the text never had."""
        return self.token_bytes(token_id)[1 if token_id in self._blank_pieces else 0 :]

    def is_control(self, token_id: int) -> bool:
        """Whether the id is a control token (`<unk>` and unnamed reserved ones included): it has no text."""
        return token_id in self.control_names

    def control_id(self, name: str) -> int | None:
        """The id of a control token such as "[TOOL_CALLS]"; None (never `<unk>`) when this tokenizer has none."""
        return self._control_ids.get(name)

    def control_name(self, token_id: int) -> str | None:
        """The name of a control token; None for every other id."""
        return self.control_names.get(token_id)

    def check_fits(self, config_vocab_size: int) -> None:
        """Raise TokenizerError when the tokenizer has ids for which the model has no embedding."""
        if self.vocab_size > config_vocab_size:
            raise TokenizerError(
                f"The tokenizer has {self.vocab_size} entries but the model's embedding has {config_vocab_size}: "
                "they do not belong together."
            )


def _load_spm(path: Path) -> SentencePieceTokenizer:
    version = named_spm_version(path.name)
    if version is not None and version not in REQUIRED_CONTROL_TOKENS:
        raise TokenizerError(f"v{version} is not a known version; known are {[*REQUIRED_CONTROL_TOKENS]}.")
    if version is None:
        bare = SentencePieceTokenizer(path, tokenizer_version=TokenizerVersion.v1)
        version = version_of_control_tokens(set(_control_names(bare).values()))
    return SentencePieceTokenizer(path, tokenizer_version=TokenizerVersion(f"v{version}"))


def _control_names(base: SentencePieceTokenizer | Tekkenizer) -> dict[int, str]:
    """`<unk>` is a control token in tekken; it is counted as one in SentencePiece too: no text encodes to it."""
    ids = sorted(base.special_ids | {base.unk_id})
    return {token_id: base.id_to_piece(token_id) for token_id in ids}


def _byte_table(base: SentencePieceTokenizer | Tekkenizer, controls: dict[int, str]) -> list[bytes]:
    if isinstance(base, Tekkenizer):
        return [base.id_to_byte_piece(token_id) for token_id in range(base.n_words)]
    return [b"" if token_id in controls else _piece_bytes(piece) for token_id, piece in enumerate(base.vocab())]


def _piece_bytes(piece: str) -> bytes:
    if byte := _BYTE_PIECE.fullmatch(piece):
        return bytes.fromhex(byte[1])
    return piece.replace(_BLANK, " ").encode()


def _blank_pieces(base: SentencePieceTokenizer | Tekkenizer) -> frozenset[int]:
    """The ids that lose a blank at the beginning of a text (the byte token <0x20> does not)."""
    if isinstance(base, Tekkenizer):
        return frozenset()
    return frozenset(token_id for token_id, piece in enumerate(base.vocab()) if piece.startswith(_BLANK))


def _well_formed(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _reason(error: BaseException) -> str:
    """One line of the library's complaint."""
    text = error.message if isinstance(error, MistralCommonException) else str(error)
    if isinstance(error, KeyError):
        return f"it has no {text}."
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
