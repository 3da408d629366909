"""Grammars let every valid answer through and no other, whatever the tokenizer; what cannot be enforced is refused."""

from __future__ import annotations

import gc
import json
import re
import time
from typing import Any

import jsonschema
import pytest
import torch

from tests.engine.grammar_walks import TOKENIZERS, accepts, allowed, compiler, finished, walk
from tramontane.engine import grammar as grammar_module
from tramontane.engine.grammar import (
    Grammar,
    GrammarCompiler,
    GrammarStateError,
    JsonObject,
    JsonSchema,
    Lark,
    Regex,
)
from tramontane.engine.grammar_mask import apply_bitmask, new_bitmask, pack_bits
from tramontane.errors import InvalidRequestError

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "ü", "\n"]}, "maxItems": 3},
        "of": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
    },
    "required": ["name", "of"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"zip": {"type": "string", "pattern": "^[0-9]{4}$"}}}},
}
TREE = {"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 2}}, "$ref": "#/$defs/t"}
SCHEMAS = [PERSON, TREE, {"type": "object"}, {"type": ["number", "boolean"]}, {"const": "«é»\u2028"}]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("schema", SCHEMAS)
def test_random_json_follows_its_schema(name: str, schema: dict[str, Any]) -> None:
    tokenizer, grammars = compiler(name)
    compiled = grammars.compile(JsonSchema(schema))
    whole = 0
    for seed in range(8):
        tokens = walk(compiled, tokenizer, seed)
        if finished(compiled, tokens):
            jsonschema.validate(json.loads(tokenizer.decode(tokens)), schema)
            whole += 1
    assert whole >= 3


@pytest.mark.parametrize("name", TOKENIZERS)
def test_json_as_models_write_it(name: str) -> None:
    value = {"name": 'Zoë "☺"', "age": 7, "tags": ["ü"], "of": {"zip": "8000"}}
    for indent in (None, 2, 4):
        assert accepts(name, JsonSchema(PERSON), json.dumps(value, indent=indent, ensure_ascii=False))
    assert accepts(name, JsonSchema(PERSON), json.dumps({"name": "Zoë ☺", "of": None}, ensure_ascii=True))
    assert accepts(name, JsonObject(), '{"a":{},"b":[1,2.5e3,null,true]}')


@pytest.mark.parametrize(
    "text", ['{"name": "x"}', '{"of": null, "name": "x"}', '{"name": "x", "of": 3}', "[]", "", "x"]
)
def test_json_that_breaks_its_schema(text: str) -> None:
    assert not accepts("spm-v3", JsonSchema(PERSON), text)


def test_json_cannot_be_padded_with_blanks() -> None:
    assert not accepts("tekken-v3", JsonObject(), "{" + " " * 30 + "}")
    assert not accepts("tekken-v3", JsonObject(), "{\n\n}")
    assert not accepts(
        "tekken-v3", JsonSchema({"type": "object", "x-guidance": {"whitespace_flexible": True}}), "{\n\n}"
    )


def test_a_cut_answer_is_not_accepting() -> None:
    tokenizer, grammars = compiler("spm-v3")
    compiled = grammars.compile(JsonSchema(PERSON))
    tokens = tokenizer.encode('{"name": "x", "of": null}')
    assert [finished(compiled, tokens[:n]) for n in range(len(tokens) + 1)] == [False] * len(tokens) + [True]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_random_text_matches_its_regex(name: str) -> None:
    tokenizer, grammars = compiler(name)
    pattern = r'(ja|nein)/[0-9]{2,4}"[^\n]{3}|[α-ω]+'
    compiled = grammars.compile(Regex(pattern))
    texts = [
        tokenizer.decode(t) for t in (walk(compiled, tokenizer, s, "ωα") for s in range(12)) if finished(compiled, t)
    ]
    assert len(texts) >= 6
    for text in texts:
        assert re.fullmatch(pattern, text)
    assert accepts(name, Regex(pattern), 'nein/1234"äöü')


def test_lark() -> None:
    source = 'start: "let " NAME "=" /[0-9]+/ (";" NAME)*\nNAME: /[a-z]+/'
    assert accepts("tekken-v3", Lark(source), "let x=12;y;zz")
    assert not accepts("tekken-v3", Lark(source), "let x=;y")


def test_the_end_is_alone_where_it_must_come() -> None:
    tokenizer, grammars = compiler("spm-v3")
    state = grammars.compile(Regex("yes?")).start()
    for token in tokenizer.encode("ye"):
        state.accept(token)
    assert state.is_accepting
    assert not state.is_finished
    assert tokenizer.eos_id in allowed(state, tokenizer)
    state.accept(next(i for i in allowed(state, tokenizer) if tokenizer.token_bytes(int(i)) == b"s"))
    assert state.is_finished
    assert allowed(state, tokenizer).tolist() == [tokenizer.eos_id]
    state.accept(tokenizer.eos_id)
    assert state.is_finished


def test_a_forbidden_token_breaks_one_sequence_only() -> None:
    tokenizer, grammars = compiler("spm-v3")
    compiled = grammars.compile(JsonObject())
    broken, healthy = compiled.start(), compiled.start()
    with pytest.raises(GrammarStateError):
        broken.accept(tokenizer.encode("x")[0])
    row = new_bitmask(1, tokenizer.vocab_size + 41)[0]
    with pytest.raises(GrammarStateError):
        broken.fill_mask(row)
    assert not broken.is_finished
    assert len(allowed(healthy, tokenizer)) > 0


def test_a_dead_end_is_an_error_and_not_an_end() -> None:
    tokenizer, grammars = compiler("spm-v3")
    state = grammars.compile(Lark('start: "a" NOTHING\nNOTHING: /b/ & /c/')).start()
    state.accept(int(allowed(state, tokenizer)[0]))
    with pytest.raises(GrammarStateError):
        allowed(state, tokenizer)
    assert not state.is_accepting


@pytest.mark.parametrize(
    "source", ["start: <[*]>", "start: A\nA: ~/x/", "start: <[0-10]> | /a/", "start: <[32768-32800]> | /a/"]
)
def test_no_grammar_of_a_client_reaches_control_tokens(source: str) -> None:
    tokenizer, grammars = compiler("spm-v3")
    ids = allowed(grammars.compile(Lark(source)).start(), tokenizer)
    assert len(ids) > 0
    assert all(i == tokenizer.eos_id or not tokenizer.is_control(int(i)) for i in ids)
    assert ids[-1] < tokenizer.vocab_size


def _chain(length: int) -> dict[str, Any]:
    links = {f"d{i}": {"items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(length)}
    return {"$defs": links | {f"d{length}": {}}, "$ref": "#/$defs/d0"}


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


REFUSED: dict[str, Grammar] = {
    "unknown type": JsonSchema({"type": "strin"}),
    "not a schema": JsonSchema({"properties": 3}),
    "remote reference": JsonSchema({"$ref": "https://example.org/schema"}),
    "reference to nowhere": JsonSchema({"$ref": "#/$defs/a"}),
    "reference to itself": JsonSchema({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
    "nothing is long and short": JsonSchema({"type": "string", "minLength": 5, "maxLength": 3}),
    "nothing is both": JsonSchema({"allOf": [{"type": "string"}, {"type": "integer"}]}),
    "no alternative": JsonSchema({"enum": []}),
    "look-around": JsonSchema({"type": "string", "pattern": "(?=a)b"}),
    "what is not enforced": JsonSchema({"not": {"type": "string"}}),
    "too long": JsonSchema({"enum": [str(i) for i in range(100_000)]}),
    "too deep": JsonSchema(_nested(2000)),
    "deep for the parser": JsonSchema(_nested(300)),
    "exponential": JsonSchema(
        {"allOf": [{"anyOf": [{"properties": {f"p{k}{i}": {}}} for i in range(4)]} for k in range(8)]}
    ),
    "broken regex": Regex("("),
    "empty regex": Regex(r"[^\s\S]"),
    "broken lark": Lark('start: "'),
    "unknown rule": Lark("start: foo"),
    "nested lark": Lark("start: " + "(" * 9000 + '"a"' + ")" * 9000),
    "options": Lark('%llguidance {"no_forcing": false}\nstart: "a"'),
    "control token by name": Lark("start: <[TOOL_CALLS]>"),
}


@pytest.mark.parametrize("grammar", REFUSED.values(), ids=REFUSED.keys())
def test_impossible_grammars_are_refused_at_once(grammar: Grammar) -> None:
    _, grammars = compiler("spm-v3")
    start = time.process_time()
    with pytest.raises(InvalidRequestError) as refusal:
        grammars.compile(grammar)
    assert time.process_time() - start < 1
    assert refusal.value.field == grammar.field
    assert "\n" not in str(refusal.value)
    assert re.search(r"[^ .:]\.$", str(refusal.value))


def test_a_long_chain_of_references_does_not_end_the_process() -> None:
    tokenizer, grammars = compiler("spm-v3")
    compiled = grammars.compile(JsonSchema(_chain(1500)))  # overflows a stack of 8 MiB
    assert len(allowed(compiled.start(), tokenizer)) > 0


def test_compiled_grammars_are_kept_until_worn_out() -> None:
    tokenizer, _ = compiler("written-v11")
    grammars = GrammarCompiler(tokenizer, tokenizer.vocab_size)
    first = grammars.compile(JsonSchema({"type": "boolean"}))
    assert grammars.compile(JsonSchema({"type": "boolean"})) is first
    assert grammars.compile(JsonSchema({"type": "null"})) is not first
    first.num_tokens = grammar_module.RECYCLE_AFTER_TOKENS
    assert grammars.compile(JsonSchema({"type": "boolean"})) is not first


def test_the_cache_is_bounded() -> None:
    tokenizer, _ = compiler("written-v11")
    grammars = GrammarCompiler(tokenizer, tokenizer.vocab_size)
    first = grammars.compile(Regex("a"))
    for i in range(12):
        grammars.compile(JsonSchema({"const": f"{i}" * 50_000}))
    gc.collect()
    assert grammars.compile(Regex("a")) is not first


def test_a_greedy_regex_never_wears_a_server_out() -> None:
    """Each token of this one makes new lexer states; requests that share the grammar must not fail for it."""
    tokenizer, grammars = compiler("written-v11")
    for seed in range(6):
        walk(grammars.compile(Regex(r"(.*a.{60})+")), tokenizer, seed, "a", steps=200)


def test_masks_over_logits() -> None:
    logits = torch.zeros(3, 70)
    keep = torch.zeros(70, dtype=torch.bool)
    keep[[0, 31, 32, 69]] = True
    bitmask = torch.stack([pack_bits(keep.numpy()), new_bitmask(1, 70)[0], pack_bits((~keep).numpy())])
    apply_bitmask(logits, bitmask)
    assert torch.isfinite(logits).tolist() == [keep.tolist(), [True] * 70, (~keep).tolist()]
    one = torch.zeros(3, 70)
    apply_bitmask(one, bitmask, rows=[2])
    assert torch.isfinite(one).sum(1).tolist() == [70, 70, 66]


@pytest.mark.parametrize("name", ["written-v13", "written-v15"])
def test_thoughts_may_come_before_json_where_the_template_has_them(name: str) -> None:
    tokenizer, _ = compiler(name)
    begin, end = tokenizer.control_id("[THINK]"), tokenizer.control_id("[/THINK]")
    assert begin is not None
    assert end is not None
    thought = [begin, *tokenizer.encode('Hm, {"a" or not?'), end, *tokenizer.encode('{"a": 1}')]
    assert accepts(name, JsonSchema({"type": "object"}, thinks=True), thought)
    assert accepts(name, JsonSchema({"type": "object"}, thinks=True), '{"a": 1}')
    assert not accepts(name, JsonSchema({"type": "object"}), thought)


def test_without_a_form_for_thoughts_json_stands_alone() -> None:
    assert accepts("spm-v3", JsonSchema({"type": "object"}, thinks=True), '{"a": 1}')
    assert not accepts("spm-v3", JsonSchema({"type": "object"}, thinks=True), 'Hm. {"a": 1}')
