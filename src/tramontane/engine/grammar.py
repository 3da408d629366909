"""Constrained decoding: a grammar says, before each token, which tokens may come next.

A request names what its answer must be with a small `Grammar`: `JsonSchema`, `Regex`, `ToolGrammar`, `Quotes`, … Each
writes itself as a grammar in llguidance's Lark syntax; `GrammarCompiler` compiles that once, and every sequence
walks its own `GrammarState` through it. Engine and grammar meet in four calls: `fill_mask`, `accept`, `is_accepting`,
`is_finished`.

Syntax of the grammars: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import llguidance
import numpy as np
import torch

from tramontane.engine.grammar_mask import new_bitmask, pack_bits
from tramontane.errors import InvalidRequestError

if TYPE_CHECKING:
    from tramontane.tokenizer.tokenizer import Tokenizer

T = TypeVar("T")

# One blank, or one line break and its indentation: `{"a": 1}` and pretty-printed JSON both pass, and a small model
# that has lost its way cannot write blanks until its budget is gone.
JSON_WHITESPACE = r"[ ]|\n[ ]{0,20}"

# Any text, as the grammars of answers that are free, or partly so, call it.
TEXT_RULE = "TEXT: /(?s:.)+/"

ANY_OBJECT: dict[str, Any] = {"type": "object"}

# A SentencePiece model writes a blank before its first word (`▁{"`), which decoding drops.
LEADING_BLANK = r"/ ?/"

# llguidance compiles by recursion on the native stack, and an overflow would end the whole process. 1,000 schemas that
# refer to each other overflow the usual 8 MiB; with this stack, nothing that the size limit lets through can
# (measured: about 13 kB a level). Pages that nobody touches cost no memory.
COMPILER_STACK_BYTES = 256 << 20

# Compiled grammars are kept up to this sum of their sources' lengths: hundreds of schemas, or three sets of documents,
# which take some 150 MB each.
CACHE_BYTES = 500_000

# The sequences of a compiled grammar share its lexer, which remembers every state it has been in and fails when there
# are too many. After so many tokens a fresh one is compiled, and the old one goes with its last sequence.
RECYCLE_AFTER_TOKENS = 2_000


class GrammarStateError(RuntimeError):
    """The grammar of one sequence cannot go on: that sequence has to end with an error, its neighbours do not."""


class Grammar(ABC):
    """What an answer must look like. Subclasses are small frozen dataclasses."""

    field: ClassVar[str] = "grammar"
    """The field of a request that an error is blamed on."""

    max_bytes: ClassVar[int] = 128_000
    """The longest grammar that is compiled: what takes a client a second to write must not take a server a minute."""

    limits: ClassVar[dict[str, Any]] = {"max_lexer_states": 50_000}
    """Where llguidance gives up (`LLParserLimits`): 1-2 kB a lexer state, shared by all sequences of one grammar."""

    @property
    def has_free_text(self) -> bool:
        """Whether parts of the answer are free text, in which a stop string may end it."""
        return False

    @abstractmethod
    def lark(self, tokenizer: Tokenizer) -> str:
        """The grammar in llguidance's Lark syntax, with a rule `start`."""

    def control_tokens(self, tokenizer: Tokenizer) -> frozenset[int]:
        """The control tokens that the grammar may let through; the end of sequence needs no mention."""
        return frozenset()

    def warm_up(self, tokenizer: Tokenizer) -> list[str]:
        """Beginnings of texts after which a mask is slow: filled when compiling, so that no sequence waits for them."""
        return []


@dataclass(frozen=True)
class JsonSchema(Grammar):
    """JSON that follows a schema (draft 2020-12, as far as llguidance enforces it: what it cannot is refused).

    With `thinks`, a model whose template has a place for thoughts may think first.
    """

    schema: dict[str, Any]
    thinks: bool = False
    field: ClassVar[str] = "response_format"

    def lark(self, tokenizer: Tokenizer) -> str:
        thoughts = thinking_rule(tokenizer) if self.thinks else ""
        rules = [f"start: {thoughts} {LEADING_BLANK} {json_rule(self.schema)}"]
        return "\n".join([*rules, TEXT_RULE] if thoughts else rules)

    def control_tokens(self, tokenizer: Tokenizer) -> frozenset[int]:
        return thinking_tokens(tokenizer) if self.thinks else frozenset()

    def warm_up(self, tokenizer: Tokenizer) -> list[str]:
        return [" "]  # the blank is always allowed; a schema that nothing satisfies shows behind it


@dataclass(frozen=True)
class JsonObject(JsonSchema):
    """Any JSON object."""

    schema: dict[str, Any] = dataclasses.field(default_factory=lambda: ANY_OBJECT, init=False)


@dataclass(frozen=True)
class Regex(Grammar):
    """A text that a regular expression matches from beginning to end (syntax of Rust's `regex`, no look-around).

    One blank may come before: SentencePiece drops it (it also drops one that the expression asks for itself).
    """

    pattern: str

    def lark(self, tokenizer: Tokenizer) -> str:
        blank = LEADING_BLANK if tokenizer.kind == "spm" else ""
        return f"start: {blank} /{llguidance.regex_to_lark(self.pattern, '')}/"

    def warm_up(self, tokenizer: Tokenizer) -> list[str]:
        return [" "] if tokenizer.kind == "spm" else []


@dataclass(frozen=True)
class Lark(Grammar):
    """A grammar in llguidance's Lark syntax; it cannot reach control tokens, whatever it says."""

    source: str

    def lark(self, tokenizer: Tokenizer) -> str:
        if "%llguidance" in self.source:
            raise InvalidRequestError(self.field, "A grammar cannot set llguidance's options; leave %llguidance out.")
        return self.source


def json_rule(schema: dict[str, Any]) -> str:
    """A JSON schema as a part of a Lark rule, with bounded white space; strings may use escapes such as `\\u00e9`."""
    options = {"whitespace_pattern": JSON_WHITESPACE, "json_allow_general_unicode_escapes": True}
    return f"%json {json.dumps({**schema, 'x-guidance': options})}"  # the client's own options are replaced


def control_rule(tokenizer: Tokenizer, name: str) -> str:
    """A control token as Lark writes it: by number."""
    return f"<[{tokenizer.control_id(name)}]>"


def thinking_tokens(tokenizer: Tokenizer) -> frozenset[int]:
    """`[THINK]` and `[/THINK]`, where the template has thoughts (v13 on) and the tokenizer its tokens."""
    ids = [tokenizer.control_id(name) for name in ("[THINK]", "[/THINK]")] if tokenizer.version >= 13 else []
    return frozenset(i for i in ids if i is not None)


def thinking_rule(tokenizer: Tokenizer) -> str:
    """An optional block of thoughts, where there can be one; needs `TEXT_RULE`."""
    if not thinking_tokens(tokenizer):
        return ""
    return f"({control_rule(tokenizer, '[THINK]')} TEXT? {control_rule(tokenizer, '[/THINK]')})?"


class GrammarState:
    """Where one sequence stands in its grammar."""

    def __init__(self, grammar: CompiledGrammar) -> None:
        self._grammar = grammar
        self._matcher = grammar.matcher.deep_copy()

    def fill_mask(self, row: torch.Tensor) -> None:
        """Write which tokens may come next into `row`, int32 [ceil(vocab / 32)], one bit a token, lowest bit first.

        The end of sequence is among them where the text may end, and is alone where it must.
        Raises `GrammarStateError` rather than leaving no token at all.
        """
        self._matcher.unsafe_compute_mask_ptr(row.data_ptr(), row.numel() * row.element_size())
        # After an error llguidance fills in the end of sequence, which would pass a broken answer off as a whole one.
        if self._matcher.is_error():
            raise GrammarStateError(_reason(self._matcher.get_error()))
        row &= self._grammar.reachable
        if not row.any():
            raise GrammarStateError("the grammar lets no token through here")

    def accept(self, token_id: int) -> None:
        """Move past a token; raises `GrammarStateError` if the grammar forbids it."""
        if not self._matcher.consume_token(token_id):
            raise GrammarStateError(f"the grammar does not let token {token_id} through here")
        self._grammar.num_tokens += 1

    @property
    def is_accepting(self) -> bool:
        """Whether what was written is whole: after a cut by max_tokens this tells a complete answer from a torso."""
        return bool(self._matcher.is_accepting())

    @property
    def is_finished(self) -> bool:
        """Whether nothing but the end of sequence may come, or it has come already."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()


class CompiledGrammar:
    """A grammar that was compiled once, for any number of sequences, one after the other or at the same time."""

    def __init__(self, matcher: llguidance.LLMatcher, reachable: torch.Tensor) -> None:
        self.matcher = matcher
        self.reachable = reachable  # int32 [ceil(vocab / 32)]: the tokens that may be let through at all
        self.num_tokens = 0  # that sequences have written; a race between threads may lose some

    def start(self) -> GrammarState:
        """The state of a new sequence: a copy, in some microseconds."""
        return GrammarState(self)


class GrammarCompiler:
    """Compiles grammars for one tokenizer, and keeps those that were used last. Safe from several threads.

    `model_vocab_size` may exceed the tokenizer's: no grammar lets through the rows in between.
    """

    def __init__(self, tokenizer: Tokenizer, model_vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = model_vocab_size
        vocabulary = _Vocabulary(tokenizer, model_vocab_size)
        self._ll_tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary))
        self._text_tokens = _text_tokens(tokenizer, model_vocab_size)
        self._cache: OrderedDict[tuple[type, str], CompiledGrammar] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, grammar: Grammar) -> CompiledGrammar:
        """Compile, or find among the last ones; raises `InvalidRequestError` for what nothing can satisfy.

        Takes 1-4 ms for common schemas, up to seconds for hostile ones: call it in a thread that may wait.
        """
        source = _write(grammar, self._tokenizer)
        key = (type(grammar), source)
        with self._lock:
            cached = self._cache.get(key)
            if cached is not None and cached.num_tokens < RECYCLE_AFTER_TOKENS:
                self._cache.move_to_end(key)
                return cached
        compiled = _on_large_stack(lambda: self._compile(grammar, source))
        if len(source) > CACHE_BYTES:
            return compiled
        with self._lock:
            self._cache[key] = compiled
            self._cache.move_to_end(key)
            while sum(len(source) for _, source in self._cache) > CACHE_BYTES:
                self._cache.popitem(last=False)
        return compiled

    def _compile(self, grammar: Grammar, source: str) -> CompiledGrammar:
        limits = llguidance.LLParserLimits(**grammar.limits, verbose_errors=False)
        # Forcing would let through one spelling of a fixed text, as the tokenizer's Python code cuts it; without it
        # the model chooses among all of them, and the engine calls no Python from a mask.
        text = f'%llguidance {{"no_forcing": true}}\n{source}'
        matcher = llguidance.LLMatcher(self._ll_tokenizer, text, log_level=0, limits=limits)
        if matcher.is_error():
            raise InvalidRequestError(grammar.field, f"The grammar cannot be used: {_reason(matcher.get_error())}.")
        compiled = CompiledGrammar(matcher, self._reachable(grammar))
        try:
            self._fill_first_masks(compiled, grammar.warm_up(self._tokenizer))
        except GrammarStateError as error:
            reason = str(error) if "too many" in str(error) else "no text satisfies it"
            raise InvalidRequestError(grammar.field, f"The grammar cannot be used: {reason}.") from None
        return compiled

    def _fill_first_masks(self, compiled: CompiledGrammar, warm_up: list[str]) -> None:
        """Show a grammar that lets nothing through, and let the shared lexer learn what is slow to learn."""
        row = new_bitmask(1, self._vocab_size)[0]
        for text in ["", *warm_up]:
            state = compiled.start()
            for token_id in self._ll_tokenizer.greedy_tokenize(text):
                state.accept(token_id)
            state.fill_mask(row)

    def _reachable(self, grammar: Grammar) -> torch.Tensor:
        """Bits of the tokens that the grammar may ever let through."""
        reachable = self._text_tokens.copy()
        reachable[[self._tokenizer.eos_id, *grammar.control_tokens(self._tokenizer)]] = True
        return pack_bits(reachable)


def _write(grammar: Grammar, tokenizer: Tokenizer) -> str:
    try:
        source = grammar.lark(tokenizer)
    except RecursionError:
        raise InvalidRequestError(grammar.field, "The grammar is nested too deeply.") from None
    if len(source.encode("utf-8", "replace")) > grammar.max_bytes:
        raise InvalidRequestError(grammar.field, f"The grammar is longer than {grammar.max_bytes} bytes.")
    return source


def _reason(message: str) -> str:
    """What llguidance complains about, without where it was in its own source."""
    if regex_error := re.search(r"^\s*error: (.+)", message, re.MULTILINE):
        return f"in a regular expression, {regex_error[1]}"
    first_line = message.strip().split("\n")[0].rpartition("failed to compile JSON schema: ")[2]
    return re.sub(r"^(at )?\d+\(\d+\): ", "", first_line).rstrip(". :")


def _on_large_stack(work: Callable[[], T]) -> T:
    """Do the work on a thread with a large native stack, and hand on its result or its exception."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    with _stack_size_lock:  # the size is a setting of the process; a thread started meanwhile would get it as well
        previous = threading.stack_size(COMPILER_STACK_BYTES)
        try:
            thread = threading.Thread(target=run, name="grammar-compiler")
            thread.start()
        finally:
            threading.stack_size(previous)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


_stack_size_lock = threading.Lock()


class _Vocabulary:
    """The tokenizer as llguidance reads it: the bytes of each token, and which tokens are not text."""

    def __init__(self, tokenizer: Tokenizer, model_vocab_size: int) -> None:
        self.eos_token_id = tokenizer.eos_id
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = [i for i in range(tokenizer.vocab_size) if tokenizer.is_control(i)]
        self.tokens = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
        self.tokens += [b""] * (model_vocab_size - tokenizer.vocab_size)
        for i in self.special_token_ids:
            # A name that no grammar can spell: our own grammars refer to control tokens by number.
            self.tokens[i] = b"control %d" % i

    def __call__(self, text: bytes | str) -> list[int]:
        raise AssertionError("grammars are compiled with no_forcing, which needs no encoding")


def _text_tokens(tokenizer: Tokenizer, model_vocab_size: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    is_text = np.zeros(model_vocab_size, dtype=np.bool_)
    for i in range(tokenizer.vocab_size):
        is_text[i] = not tokenizer.is_control(i) and len(tokenizer.token_bytes(i)) > 0
        # SentencePiece's <0x20>, which nothing encodes to: decoding would keep it where it drops a leading ▁.
        if tokenizer.kind == "spm" and tokenizer.first_bytes(i) == b" ":
            is_text[i] = False
    return is_text
