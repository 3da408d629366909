"""Text survives tokens and back, text never becomes a control token, and the numbers are mistral-common's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from tests.tokenizer.texts import TEXTS, texts
from tests.tokenizers import REAL_TOKENIZERS, SPM_V3, write_tekken
from tramontane.errors import TokenizerError
from tramontane.tokenizer.tokenizer import Tokenizer

Load = Callable[[str], Tokenizer]


@pytest.mark.parametrize("name", REAL_TOKENIZERS)
def test_parity_with_mistral_common(name: str, load: Load) -> None:
    ours, theirs = load(name), MistralTokenizer.from_file(REAL_TOKENIZERS[name]).instruct_tokenizer.tokenizer
    assert (ours.vocab_size, ours.bos_id, ours.eos_id) == (theirs.n_words, theirs.bos_id, theirs.eos_id)
    assert f"v{ours.version}" == theirs.version.value
    for text in TEXTS:
        ids = theirs.encode(text, bos=True, eos=True)
        assert ours.encode(text, bos=True, eos=True) == ids
        assert ours.decode(ids) == theirs.decode(ids) == text


@pytest.mark.parametrize("name", REAL_TOKENIZERS)
def test_any_ids_decode_as_in_mistral_common(name: str, load: Load) -> None:
    """Equal but for how many U+FFFD stand for invalid bytes, which the libraries do not agree on among themselves."""
    ours, theirs = load(name), MistralTokenizer.from_file(REAL_TOKENIZERS[name]).instruct_tokenizer.tokenizer
    unk = ours.control_id("<unk>")

    @given(st.lists(st.integers(0, ours.vocab_size - 1).filter(lambda token_id: token_id != unk), max_size=12))
    @settings(deadline=None)
    def check(ids: list[int]) -> None:
        one = re.compile("\ufffd+").sub
        assert one("\ufffd", ours.decode(ids)) == one("\ufffd", theirs.decode(ids))

    check()


def test_text_survives(tokenizer: Tokenizer) -> None:
    @given(texts)
    @settings(deadline=None)
    def check(text: str) -> None:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert not any(map(tokenizer.is_control, ids))

    check()


def test_the_bytes_of_the_tokens_are_the_text(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        ids = tokenizer.encode(text, bos=True, eos=True)
        data = b"".join(map(tokenizer.token_bytes, ids))
        blank = b" " if tokenizer.kind == "spm" and text else b""
        assert data == blank + text.encode()
        assert [tokenizer.byte_table[token_id] for token_id in ids] == [*map(tokenizer.token_bytes, ids)]


def test_only_spm_adds_a_blank_and_the_byte_token_keeps_its_own(load: Load) -> None:
    spm, tekken = load("spm-v3"), load("tekken-v3")
    (hello,) = spm.encode("Hello")
    assert (spm.token_bytes(hello), spm.first_bytes(hello)) == (b" Hello", b"Hello")
    assert tekken.first_bytes(tekken.encode(" Hello")[0]) == b" Hello"
    byte_token = spm.byte_table.index(b"\x00") + 0x20  # <0x20>, which no piece stands for
    assert spm.token_bytes(byte_token) == spm.first_bytes(byte_token) == b" "
    assert spm.decode([spm.bos_id, hello, hello]) == "Hello Hello"


def test_half_a_surrogate_pair_becomes_a_replacement_character(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00")) == "😀"


def test_ids_outside_the_vocabulary_say_nothing(tokenizer: Tokenizer) -> None:
    for token_id in (-1, -(10**9), tokenizer.vocab_size, 2**63):
        assert tokenizer.token_bytes(token_id) == b""
        assert not tokenizer.is_control(token_id)
        assert tokenizer.control_name(token_id) is None
        assert tokenizer.decode([token_id]) == ""


def test_control_tokens_by_id_and_name(tokenizer: Tokenizer) -> None:
    assert tokenizer.control_id("<s>") == tokenizer.bos_id
    assert tokenizer.control_id("</s>") == tokenizer.eos_id
    for token_id, name in tokenizer.control_names.items():
        assert tokenizer.is_control(token_id)
        assert tokenizer.token_bytes(token_id) == b""
        assert tokenizer.control_id(name) == token_id
        assert tokenizer.control_name(token_id) == name
    assert tokenizer.control_name(tokenizer.encode("a")[-1]) is None


@pytest.mark.parametrize(
    ("name", "control", "has"),
    [
        ("spm-v1", "[INST]", False),
        ("spm-v2", "[TOOL_CALLS]", True),
        ("spm-v2", "[PREFIX]", False),
        ("spm-v3", "[SUFFIX]", True),
        ("spm-v3", "[SYSTEM_PROMPT]", False),
        ("spm-v7", "[TOOL_CONTENT]", True),
        ("tekken-v7", "[ARGS]", False),
        ("tekken-v11", "[CALL_ID]", True),
        ("tekken-v11", "[THINK]", False),
        ("tekken-v13", "[/THINK]", True),
        ("tekken-v15", "[MODEL_SETTINGS]", True),
        ("spm-v3", "hello", False),
        ("spm-v3", "▁the", False),
    ],
)
def test_an_absent_control_token_is_none_and_never_unk(name: str, control: str, has: bool, load: Load) -> None:
    found = load(name).control_id(control)
    assert (found is not None) is has
    assert found != load(name).control_id("<unk>")


def test_a_tokenizer_larger_than_the_embedding_does_not_fit(tokenizer: Tokenizer) -> None:
    tokenizer.check_fits(tokenizer.vocab_size)
    tokenizer.check_fits(tokenizer.vocab_size + 64)
    with pytest.raises(TokenizerError, match=f"{tokenizer.vocab_size} entries"):
        tokenizer.check_fits(tokenizer.vocab_size - 1)


def test_the_fingerprint_is_the_files_and_the_versions(tmp_path: Path, load: Load) -> None:
    again = Tokenizer.from_file(SPM_V3)
    assert again.fingerprint == load("spm-v3").fingerprint
    names = [*REAL_TOKENIZERS, "tekken-v7", "tekken-v11", "tekken-v13", "tekken-v15"]
    assert len({load(name).fingerprint for name in names}) == len(names)
    more = Tokenizer.from_file(write_tekken(tmp_path, 13, num_special_tokens=65))
    assert more.fingerprint != load("tekken-v13").fingerprint


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["a" * 500_000, " " * 500_000, "\n" * 500_000, "!?" * 250_000, "é" * 250_000])
def test_long_runs_take_no_quadratic_time(text: str, load: Load) -> None:
    for name in ("spm-v3", "tekken-v3"):
        tokenizer = load(name)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_millions_of_blanks_are_encoded(load: Load) -> None:
    tokenizer = load("tekken-v3")
    ids = tokenizer.encode(" " * 3_000_000, bos=True, eos=True)
    assert (ids[0], ids[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert tokenizer.decode(ids) == " " * 3_000_000
