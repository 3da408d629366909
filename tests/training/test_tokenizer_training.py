"""A tokenizer of our own is a tekken v13 file like any other, and loses nothing of any text."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.tokenizer.chat import render_chat
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.copying import repeat
from tramontane.training.errors import TrainingError
from tramontane.training.tokenizer_training import train_tokenizer

_SENTENCE = "Le bail commence le 3 mars 2027 ; der Mietvertrag endet am 14. Mai. def f(x):\n    return x + 12\n"


def _texts() -> list[str]:
    rng = random.Random(0)
    return [_SENTENCE * 3, *(repeat(rng).messages[0]["content"] for _ in range(200))]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(_texts(), 600, tmp_path_factory.mktemp("tokenizer") / "tekken.json")


def test_it_is_a_tekken_file_of_v13(tokenizer: Tokenizer) -> None:
    assert (tokenizer.kind, tokenizer.version, tokenizer.vocab_size) == ("tekken", 13, 632)
    assert len(tokenizer.encode(_SENTENCE)) < 0.75 * len(_SENTENCE)
    prompt = render_chat(tokenizer, [{"role": "user", "content": "a"}]).tokens
    assert [tokenizer.control_name(token) for token in prompt] == ["<s>", "[INST]", None, "[/INST]"]


def test_every_digit_is_a_token(tokenizer: Tokenizer) -> None:
    number = tokenizer.encode("20271")
    assert [tokenizer.token_bytes(token) for token in number] == [b"2", b"0", b"2", b"7", b"1"]


def test_a_word_is_the_same_behind_any_mark(tokenizer: Tokenizer) -> None:
    alone = tokenizer.encode("Mietvertrag")
    for before in ("«", "[", "(", ": «", "„"):
        assert tokenizer.encode(before + "Mietvertrag")[-len(alone) :] == alone


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_encoding_loses_nothing(tokenizer: Tokenizer, text: str) -> None:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not any(tokenizer.is_control(token) for token in ids)


def test_the_same_text_makes_the_same_file(tmp_path: Path, tokenizer: Tokenizer) -> None:
    again = train_tokenizer(_texts(), 600, tmp_path / "tekken.json")
    assert again.fingerprint == tokenizer.fingerprint


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not the 5000 that tokenizer.entries asks for"):
        train_tokenizer(["a few words"], 5000, tmp_path / "tekken.json")
    assert not (tmp_path / "tekken.json").exists()
