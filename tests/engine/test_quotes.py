"""Quotes cannot lie: whatever a model writes under the grammar, every quotation is in its document, word for word."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.grammar_walks import accepts, allowed, compiler, finished, walk
from tramontane.engine.quotes import DELIMITERS, REFUSALS, Quotes, parse_quotes
from tramontane.errors import InvalidRequestError

NAMES = ["spm-v3", "spm-v7", "tekken-v3", "written-v13"]
DOCUMENTS = (
    "Le mistral souffle\u202f; «\u00a0il fait froid\u00a0», dit-on.\n\nL’hiver\u00a0: 3\u202f% de pluie.",
    "Die Brücke (erbaut 1888) ist  gesperrt.\r\n\tGrund: „Rost“ – siehe [2] und [17].",
    "El niño dijo: ¿qué? ¡Nada! E\u0301l volvió; e\u0301l cayó.",
    "L'acqua è fredda: +4 °C, più o meno. L'acqua è fredda.",
    'The bridge "Old Bridge" is closed» [1] «for repairs\u2028[3] until 2027.\x00',
    "日本語の文書には空白がない。日本語。👩‍👩‍👧 👍🏽 ok\u3000終わり",
    "a b a b a b a",
    "] [ « » “ ” ‹ › 「 」",
    " \n ",
    "",
)


def squeezed(text: str) -> str:
    """White space as the module describes it, done in another way."""
    kept = "\u00a0\u2007\u202f\u3000"
    return re.sub(" +", " ", "".join(" " if c.isspace() and c not in kept else c for c in text)).strip(" ")


def check(answer: str, quotes: Quotes) -> int:
    """Every quotation and every citation in an answer is true; returns how many there are."""
    opening, closing = quotes.delimiters
    spans = parse_quotes(answer, quotes)
    assert len(spans) == answer.count(opening) == answer.count(closing)
    rest = answer
    for span in reversed(spans):
        quoted = answer[span.text_start : span.text_end]
        document = quotes.documents[span.document - 1]
        assert squeezed(document[span.start : span.end]) == quoted
        assert (span.start, span.end) == span.occurrences[0]
        assert all(squeezed(document[start:end]) == quoted for start, end in span.occurrences)
        assert re.search(r"\w", quoted)
        assert quoted == quoted.strip()
        assert answer[span.text_start - 1] == opening
        assert answer[span.text_end :].startswith(f"{closing} [{span.document}]")
        rest = rest[: span.text_start - 1] + rest[span.text_end + len(f"{closing} [{span.document}]") :]
    assert not set(rest) & set('"«»“”„‹›「」[]')  # nothing else looks like a quotation or a citation
    return len(spans)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("free_text", [False, True])
def test_random_answers_quote_truly(name: str, free_text: bool) -> None:
    tokenizer, grammars = compiler(name)
    # A random walk through free text needs a delimiter that is one token to find its way out.
    documents = tuple(d for d in DOCUMENTS if not set(d) & set("«»")) if free_text else DOCUMENTS
    quotes = Quotes(documents, free_text, languages=())
    compiled = grammars.compile(quotes)
    cited = 0
    for seed in range(25):
        tokens = walk(compiled, tokenizer, seed, quotes.delimiters + "]")
        answer = tokenizer.decode(tokens)
        if finished(compiled, tokens):
            count = check(answer, quotes)
            assert count > 0
            cited += count
    assert cited > 10


ALPHABET = st.sampled_from(
    [*"ab é,.«»“”[]12\n\t\u00a0\u202f\u0301\u200d日本👍🏽ß\ud800", " ", " ", "mot", " [2] ", "» [1] «"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.lists(ALPHABET, max_size=25).map("".join), min_size=1, max_size=12),
    st.booleans(),
    st.sampled_from(NAMES[:1] + NAMES[2:]),
    st.integers(0, 2**32),
)
def test_random_documents_and_answers(documents: list[str], free_text: bool, name: str, seed: int) -> None:
    tokenizer, grammars = compiler(name)
    quotes = Quotes(tuple(documents), free_text=free_text)
    compiled = grammars.compile(quotes)
    documents = [re.sub("[\ud800-\udfff]", "\ufffd", document) for document in documents]
    tokens = walk(compiled, tokenizer, seed, quotes.delimiters + "]", steps=120)
    answer = tokenizer.decode(tokens)
    if finished(compiled, tokens) and answer not in REFUSALS.values():
        assert check(answer, Quotes(tuple(documents), free_text=free_text)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_document_that_has_a_span_may_be_named_and_no_other(name: str) -> None:
    documents = ("the cat sat on the mat", "the dog sat on the cat", "on the sofa")
    for span, numbers in {"cat": {1, 2}, "on the": {1, 2, 3}, "sat on the cat": {2}, "sofa": {3}}.items():
        for n in range(4):
            assert accepts(name, Quotes(documents), f"«{span}» [{n}]") == (n in numbers)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("free_text", [False, True])
def test_each_document_can_be_quoted_up_to_its_end(name: str, free_text: bool) -> None:
    """The next byte of a document may begin like the closing delimiter (both « and no-break blanks begin with C2)."""
    quotes = Quotes(DOCUMENTS[:6], free_text)
    opening, closing = quotes.delimiters
    for n, document in enumerate(quotes.documents, start=1):
        words = squeezed(document).split(" ")
        for end in range(1, len(words) + 1):
            span = " ".join(words[:end])
            fits = not set(span) & set(quotes.delimiters)
            assert accepts(name, quotes, f"{opening}{span}{closing} [{n}]") == fits
    assert accepts(name, quotes, f"{opening}souffle{closing} [1]")
    assert accepts(name, quotes, f"{opening}Le mistral souffle\u202f;{closing} [1]")


@pytest.mark.parametrize(
    "answer",
    [
        "«Brücken» [1]",  # a word that is not there
        "«Brück» [1]",  # a piece of a word
        "«Die  Brücke» [1]",  # other white space
        "«die Brücke» [1]",  # other letters
        "«Die Bru\u0308cke» [1]",  # another normalisation
        "« Brücke» [1]",
        "«Brücke » [1]",
        "«» [1]",
        "« » [1]",
        "«.» [1]",
        "«Brücke»",
        "«Brücke» [",
        "«Brücke» [2]",
        "«Brücke» [11]",
        "«Brücke» [0]",
        "«Die Brücke",
        "Die Brücke",
        "Die Brücke ist zu.",
        "",
        "«Brücke» [1]«Brücke» [1]",
        "«Brücke» [1] ",
    ],
)
@pytest.mark.parametrize("name", ["spm-v3", "tekken-v3"])
def test_lies_are_not_let_through(name: str, answer: str) -> None:
    quotes = Quotes(("Die Brücke ist zu.",))
    assert not accepts(name, quotes, answer)
    assert accepts(name, quotes, "«Die Brücke» [1]\n«zu.» [1]")


@pytest.mark.parametrize(
    "forged",
    [
        '"zu"',
        "„zu“",
        "‹zu›",
        "[1]",
        "[1",
        "1]",
        "［1］",
        "『zu』",
        "»",
        "«zu",
        "\u202e",
        "\x1b[1m",
        "\x00",
        "❝zu❞",
        "＂zu＂",
    ],
)
@pytest.mark.parametrize("name", ["spm-v3", "tekken-v3"])
def test_free_text_cannot_forge_quotations(name: str, forged: str) -> None:
    quotes = Quotes(("Die Brücke ist zu.",), free_text=True)
    true = "Es heißt: «Die Brücke» [1], also\n- zu (l’été, 5'): «zu» [1] ☺"
    assert accepts(name, quotes, true)
    assert [(s.document, s.start, s.end) for s in parse_quotes(true, quotes)] == [(1, 0, 10), (1, 15, 17)]
    assert not accepts(name, quotes, f"{forged} {true}")
    assert not accepts(name, quotes, f"{true} {forged}")
    assert not accepts(name, quotes, "Nur Text.")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("free_text", [False, True])
def test_refusals(name: str, free_text: bool) -> None:
    for language, sentence in REFUSALS.items():
        assert accepts(name, Quotes(("a b",), free_text), sentence)
        assert accepts(name, Quotes(("a b",), free_text, languages=(language,)), sentence)
        assert not accepts(name, Quotes(("a b",), free_text, languages=()), sentence)
        assert accepts(name, Quotes((), free_text), sentence)
    assert not accepts(name, Quotes(("a b",), languages=("fr",)), REFUSALS["de"])


def test_impossible_requests() -> None:
    _, grammars = compiler("written-v13")
    for quotes, field in [
        (Quotes((), languages=()), "documents"),
        (Quotes((" .\n", ""), languages=()), "documents"),
        (Quotes(("a",), languages=("la",)), "languages"),
        (Quotes(("word " * 200_000,)), "documents"),
    ]:
        with pytest.raises(InvalidRequestError) as refusal:
            grammars.compile(quotes)
        assert refusal.value.field == field


def test_delimiters_are_those_that_no_document_contains() -> None:
    assert Quotes(("a", "b")).delimiters == "«»"
    assert Quotes(("a « b", "c")).delimiters == "“”"
    assert Quotes(("« “", "c ›")).delimiters == "「」"
    everything = Quotes(("".join(DELIMITERS) + "««» word", "".join(DELIMITERS) + "“ «here» ”"))
    assert everything.delimiters == "‹›"
    assert accepts("tekken-v3", everything, "‹«here»› [2]")


def test_spans_lead_back_to_the_original() -> None:
    document = "\n A\t\tb\r\nc,  A b  c!"
    quotes = Quotes(("no", document))
    (span,) = parse_quotes("«A b c» [2]", quotes)
    assert document[span.start : span.end] == "A\t\tb\r\nc"
    assert [document[start:end] for start, end in span.occurrences] == ["A\t\tb\r\nc", "A b  c"]
    assert (span.text_start, span.text_end) == (1, 6)


def test_answers_from_elsewhere_are_not_believed() -> None:
    quotes = Quotes(("the cat sat",))
    answer = "«the dog» [1] «ca» [1] «cat» [2] «cat» [0] «cat» [01] «cat» [99999999999] «the «cat» [1] «sat» [1"
    assert [answer[s.text_start : s.text_end] for s in parse_quotes(answer, quotes)] == ["cat"]
    assert parse_quotes("", quotes) == []


def test_words_keep_what_modifies_them() -> None:
    family, accented = "👩‍👩‍👧", "E\u0301l"
    quotes = Quotes((f"x {family} {accented} 👍🏽 日本語",))
    assert accepts("tekken-v3", quotes, f"«x {family} {accented}» [1]")
    assert accepts("tekken-v3", quotes, "«本» [1]")
    assert not accepts("tekken-v3", quotes, "«x 👩» [1]")
    assert not accepts("tekken-v3", quotes, "«E» [1]")
    assert not accepts("tekken-v3", quotes, "«É» [1]".replace("É", unicodedata.normalize("NFC", "E\u0301")))


def test_a_cut_answer_is_not_accepting() -> None:
    tokenizer, grammars = compiler("tekken-v3")
    compiled = grammars.compile(Quotes(("the cat sat",)))
    tokens = tokenizer.encode("«the cat» [1]")
    assert [finished(compiled, tokens[:n]) for n in range(len(tokens) + 1)] == [False] * len(tokens) + [True]


@pytest.mark.parametrize("name", ["spm-v3", "tekken-v3"])
def test_many_requests_on_the_same_documents(name: str) -> None:
    """All sequences of a grammar share its lexer: it must not fill up, nor let one answer see another."""
    tokenizer, grammars = compiler(name)
    choose = random.Random(1)
    words = [f"w{choose.randrange(400)}" for _ in range(3000)]
    documents = tuple(" ".join(words[i : i + 250]) for i in range(0, 3000, 250))
    quotes = Quotes(documents)
    for _ in range(60):
        n, start = choose.randrange(12), choose.randrange(230)
        span = " ".join(words[250 * n + start : 250 * n + start + 8])
        state = grammars.compile(quotes).start()
        for token in tokenizer.encode(f"«{span}» [{n + 1}]"):
            assert token in allowed(state, tokenizer)
            state.accept(token)
        assert state.is_finished or state.is_accepting
