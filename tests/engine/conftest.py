"""Real tokenizers, and a tiny model that speaks the first of them."""

from __future__ import annotations

import pytest

from tests.tiny import tiny_model
from tests.tokenizers import SPM_V3, TEKKEN_V3
from tramontane.model.transformer import Transformer
from tramontane.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def spm() -> Tokenizer:
    return Tokenizer.from_file(SPM_V3)


@pytest.fixture(scope="session")
def tekken() -> Tokenizer:
    return Tokenizer.from_file(TEKKEN_V3)


@pytest.fixture(scope="session")
def speaker(spm: Tokenizer) -> Transformer:
    """A model of nonsense with the vocabulary of `spm`."""
    return tiny_model("dense", vocab_size=spm.vocab_size)
