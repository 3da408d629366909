"""Fill in the middle: mistral-common's tokens, whole suffixes, and a refusal where there are no tokens for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mistral_common.protocol.fim.request import FIMRequest

from tests.tokenizer.texts import TEXTS
from tests.tokenizers import TheirTokenizer, names_since, write_tekken
from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.fim import encode_fim
from tramontane.tokenizer.tokenizer import Tokenizer

Load = Callable[[str], Tokenizer]


def parts(tokenizer: Tokenizer, tokens: list[int]) -> tuple[bytes, bytes]:
    """The bytes of the prompt and of the suffix."""
    suffix_at, prefix_at = (tokens.index(tokenizer.control_id(name) or -1) for name in ("[SUFFIX]", "[PREFIX]"))
    join = b"".join
    return join(map(tokenizer.token_bytes, tokens[prefix_at:])), join(
        map(tokenizer.token_bytes, tokens[suffix_at:prefix_at])
    )


@pytest.mark.parametrize("name", ["spm-v3", "spm-v7", "tekken-v3"])
def test_parity_with_mistral_common(name: str, load: Load, load_theirs: Callable[[str], TheirTokenizer]) -> None:
    for prompt, suffix in [("def f(", "):\n    return x"), ("a", None), ("", ""), ("x = ", "/x;\n"), ("é", "☺ ")]:
        theirs = load_theirs(name).encode_fim(FIMRequest(prompt=prompt, suffix=suffix)).tokens
        assert encode_fim(load(name), prompt, suffix) == theirs


@pytest.mark.parametrize("name", names_since(3))
def test_prompt_and_suffix_are_whole(name: str, load: Load) -> None:
    tokenizer = load(name)
    for text in TEXTS:
        prompt, suffix = parts(tokenizer, encode_fim(tokenizer, text, text))
        assert suffix == text.encode()
        assert prompt.removeprefix(b" " if tokenizer.kind == "spm" else b"") == text.encode()


def test_a_vocabulary_of_bytes_leaves_nothing_before_the_suffix(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(write_tekken(tmp_path, 7, num_vocab_tokens=256))
    assert len(tokenizer.encode("☺")) == 3
    assert parts(tokenizer, encode_fim(tokenizer, "a", "b")) == (b"a", b"b")


def test_models_without_the_tokens_refuse(load: Load) -> None:
    for name in ("spm-v1", "spm-v2"):
        with pytest.raises(InvalidRequestError, match="cannot fill in the middle"):
            encode_fim(load(name), "a", "b")


def test_half_a_surrogate_pair_is_refused_by_field(load: Load) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        encode_fim(load("tekken-v7"), "a", "\ud800")
    assert refused.value.field == "suffix"
