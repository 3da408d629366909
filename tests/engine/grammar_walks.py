"""A model with random weights, as a grammar sees one: it picks any token that the mask lets through."""

from __future__ import annotations

import functools
import random
import tempfile
from pathlib import Path

import numpy as np

from tests.tokenizers import REAL_TOKENIZERS, WRITTEN_VERSIONS, write_tekken
from tramontane.engine.grammar import CompiledGrammar, Grammar, GrammarCompiler, GrammarState
from tramontane.engine.grammar_mask import new_bitmask
from tramontane.tokenizer.tokenizer import Tokenizer

TOKENIZERS = ["spm-v2", "spm-v3", "spm-v7", "tekken-v3", *(f"written-v{version}" for version in WRITTEN_VERSIONS)]
MODEL_PADDING = 41  # rows of the model's embedding that are no token


@functools.cache
def compiler(name: str) -> tuple[Tokenizer, GrammarCompiler]:
    """A tokenizer and its grammar compiler, by a name of `TOKENIZERS`."""
    if name.startswith("written-v"):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = Tokenizer.from_file(write_tekken(Path(folder), int(name.removeprefix("written-v"))))
    else:
        tokenizer = Tokenizer.from_file(REAL_TOKENIZERS[name])
    return tokenizer, GrammarCompiler(tokenizer, tokenizer.vocab_size + MODEL_PADDING)


def allowed(state: GrammarState, tokenizer: Tokenizer) -> np.ndarray:
    """The ids that the mask lets through."""
    row = new_bitmask(1, tokenizer.vocab_size + MODEL_PADDING)[0]
    state.fill_mask(row)
    return np.nonzero(np.unpackbits(row.numpy().view(np.uint8), bitorder="little"))[0]


def walk(
    compiled: CompiledGrammar, tokenizer: Tokenizer, seed: int, closers: str = '"}]', steps: int = 300
) -> list[int]:
    """The tokens of one random answer, without the end of sequence; cut after `steps` tokens if need be.

    Every second token or so is one that holds or begins a closer, so that walks end: uniform ones would write strings
    for ever.
    """
    choose = random.Random(seed)
    state, tokens = compiled.start(), []
    closing = _tokens_with(tokenizer, closers)
    while len(tokens) < steps:
        ids = allowed(state, tokenizer)
        assert len(ids) > 0
        assert ids[-1] < tokenizer.vocab_size
        preferred = ids[closing[ids]]
        token = int(choose.choice(preferred if len(preferred) and choose.random() < 0.4 else ids))
        if tokenizer.eos_id in ids and choose.random() < 0.4:
            token = tokenizer.eos_id
        assert (tokenizer.eos_id in ids) == state.is_accepting
        state.accept(token)
        if token == tokenizer.eos_id:
            assert state.is_finished
            return tokens
        tokens.append(token)
    return tokens


def finished(compiled: CompiledGrammar, tokens: list[int]) -> bool:
    """Whether these tokens are a whole answer."""
    state = compiled.start()
    for token in tokens:
        state.accept(token)
    return state.is_accepting


def accepts(name: str, grammar: Grammar, text_or_tokens: str | list[int]) -> bool:
    """Whether the masks let a whole answer through, token by token, and then the end."""
    tokenizer, grammars = compiler(name)
    tokens = tokenizer.encode(text_or_tokens) if isinstance(text_or_tokens, str) else text_or_tokens
    state = grammars.compile(grammar).start()
    for token in tokens:
        if token not in allowed(state, tokenizer):
            return False
        state.accept(token)
    return tokenizer.eos_id in allowed(state, tokenizer)


@functools.cache
def _tokens_with(tokenizer: Tokenizer, closers: str) -> np.ndarray:
    wanted = [c.encode() for c in closers]
    rows = [bool(piece) and any(c in piece or c.startswith(piece) for c in wanted) for piece in tokenizer.byte_table]
    rows += [False] * MODEL_PADDING
    return np.array(rows)
