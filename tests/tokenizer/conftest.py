"""Every tokenizer of the family, loaded once: those of the wheel, and small tekken files for the versions it lacks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from tests.tokenizers import NAMES, REAL_TOKENIZERS, TEMPLATE_NAMES, TheirTokenizer, write_tekken
from tramontane.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def path_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of `"spm-v3"`, `"tekken-v13"`…"""

    @functools.cache
    def path_of_name(name: str) -> Path:
        if name in REAL_TOKENIZERS:
            return REAL_TOKENIZERS[name]
        return write_tekken(tmp_path_factory.mktemp(name), int(name.removeprefix("tekken-v")))

    return path_of_name


@pytest.fixture(scope="session")
def load(path_of: Callable[[str], Path]) -> Callable[[str], Tokenizer]:
    """`load("spm-v3")`: our tokenizer of that file, loaded once a session."""
    return functools.cache(lambda name: Tokenizer.from_file(path_of(name)))


@pytest.fixture(scope="session")
def load_theirs(path_of: Callable[[str], Path]) -> Callable[[str], TheirTokenizer]:
    """The same file in mistral-common's own tokenizer."""
    return functools.cache(lambda name: MistralTokenizer.from_file(path_of(name)))


@pytest.fixture(scope="session", params=NAMES)
def tokenizer(request: pytest.FixtureRequest, load: Callable[[str], Tokenizer]) -> Tokenizer:
    """Each tokenizer in turn."""
    return load(request.param)


@pytest.fixture(scope="session", params=TEMPLATE_NAMES)
def template(request: pytest.FixtureRequest, load: Callable[[str], Tokenizer]) -> Tokenizer:
    """One tokenizer for each version and kind."""
    return load(request.param)
