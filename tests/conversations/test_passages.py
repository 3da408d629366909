"""Passages cover their document, and what a model is given of it is within the budget and can be found again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.conversations.passages import GAP, SIZE, Document, Span, choose, cut, join, locate

TEXTS = st.text(st.sampled_from("ab.?|#: \n\té字😀"), max_size=300)
SENTENCE = "The tramontane blows from the north-west for a hundred days. "
PARAGRAPH = (SENTENCE * 8).strip()


def words(text: str) -> str:
    return "".join(text.split())


# Cutting


@given(TEXTS, st.integers(1, 60))
def test_every_character_is_in_one_passage(text: str, size: int) -> None:
    passages = cut(text, size)
    assert words("".join(text[start:end] for start, end in passages)) == words(text)
    assert all(0 < end - start <= size for start, end in passages)
    assert all(text[start:end] == text[start:end].strip() for start, end in passages)
    assert all(a.end <= b.start for a, b in pairwise(passages))
    assert not any(text[a.end : b.start].strip() for a, b in pairwise(passages))
    assert passages == cut(text, size)


@given(st.lists(st.sampled_from(["# Title", "Chapter two", SENTENCE.strip(), PARAGRAPH]), max_size=12))
def test_cuts_are_between_sentences_and_not_after_headings(blocks: list[str]) -> None:
    text = "\n\n".join(blocks)
    for passage in cut(text)[:-1]:
        assert text[passage.start : passage.end].endswith("days.")
        assert passage.end - passage.start >= SIZE / 3


def test_paragraphs_are_kept_together() -> None:
    text = "\n\n".join([PARAGRAPH[:400] + "."] * 6)
    assert [text[start:end].count("\n\n") for start, end in cut(text)] == [1, 1, 1]


def test_a_heading_goes_with_what_follows() -> None:
    text = f"{PARAGRAPH}\n\nThe second chapter\n\n{PARAGRAPH}"
    first, second = cut(text, 600)
    assert text[first.start : first.end] == PARAGRAPH
    assert text[second.start :].startswith("The second chapter")


def test_rows_of_a_table_are_not_divided() -> None:
    text = "\n".join(f"Name: Ada {number}; City: Vienna" for number in range(100))
    assert all(text[start:end].startswith("Name") and text[start:end].endswith("Vienna") for start, end in cut(text))


def test_what_has_no_blanks_is_cut_anyway() -> None:
    assert cut("x" * 25, 10) == [(0, 10), (10, 20), (20, 25)]
    assert cut("", 10) == cut(" \n ", 10) == []
    with pytest.raises(ValueError, match="at least one character"):
        cut("x", 0)


# Choosing


def document(passages: int, length: int = 100) -> tuple[str, Document]:
    """A text of so many passages of this length, with a blank line between them."""
    text = "\n\n".join(f"{number:0{length}d}" for number in range(passages))
    return text, Document(len(text), [(n * (length + 2), n * (length + 2) + length) for n in range(passages)])


@st.composite
def attached(draw: st.DrawFn) -> tuple[list[str], list[Document]]:
    texts = draw(st.lists(TEXTS.filter(str.strip), max_size=4))
    size = draw(st.integers(5, 60))
    return texts, [Document(len(text), cut(text, size)) for text in texts]


@given(attached(), st.data())
def test_what_is_given_is_within_the_budget(library: tuple[list[str], list[Document]], data: st.DataObject) -> None:
    texts, documents = library
    keys = [(index, n) for index, one in enumerate(documents) for n in range(len(one.passages))]
    ranking = data.draw(st.lists(st.sampled_from(keys))) if keys else []
    budget = data.draw(st.integers(0, 400))
    choice = choose(documents, ranking, budget)
    joined = [join(text, of_it.spans)[0] for text, of_it in zip(texts, choice.given, strict=True)]
    assert sum(map(len, joined)) <= budget
    assert choice.left_out == tuple(i for i, of_it in enumerate(choice.given) if not of_it.spans)
    for text, of_it, shown in zip(texts, choice.given, joined, strict=True):
        assert of_it.whole == (words(shown) == words(text))
        assert all(text[a.end : b.start].strip() for a, b in pairwise(of_it.spans))  # neighbours are one
    if sum(map(len, texts)) <= budget:
        assert all(of_it.whole for of_it in choice.given)


def test_everything_is_given_where_it_has_room() -> None:
    (text, one), (_, other) = document(3), document(2)
    choice = choose([one, other], [], one.length + other.length)
    assert choice.given[0].spans == (Span(0, len(text)),)
    assert [of_it.whole for of_it in choice.given] == [True, True]


def test_the_best_are_given_and_neighbours_are_merged() -> None:
    _, one = document(10)
    choice = choose([one], [(0, 5), (0, 8), (0, 4), (0, 1)], 340)
    assert choice.given[0].spans == (Span(4 * 102, 5 * 102 + 100), Span(8 * 102, 8 * 102 + 100))
    assert not choice.given[0].whole


def test_each_document_has_a_turn_before_any_has_a_second() -> None:
    documents = [document(10)[1] for _ in range(3)]
    ranking = [(0, 3), (0, 4), (0, 5), (2, 7)]
    choice = choose(documents, ranking, 350)
    assert [of_it.spans for of_it in choice.given] == [
        (Span(306, 406),),
        (Span(0, 100),),  # nothing of it was found: its beginning
        (Span(714, 814),),
    ]


def test_documents_without_room_are_named() -> None:
    documents = [document(10)[1] for _ in range(3)]
    choice = choose(documents, [(2, 7), (0, 3)], 230)
    assert choice.left_out == (1,)
    assert choose(documents, [(2, 7)], 50).left_out == (0, 1, 2)
    assert choose([], [], 0).left_out == ()


def test_a_long_passage_does_not_keep_out_a_short_one() -> None:
    one = Document(300, [(0, 50), (52, 250), (252, 300)])
    assert choose([one], [(0, 1), (0, 2)], 100).given[0].spans == (Span(252, 300),)


# Joining and finding again


def test_gaps_are_marked() -> None:
    text = "one\n\ntwo\n\nthree\n\nfour"
    assert join(text, [(0, len(text))])[0] == text
    assert join(text, [(0, 3)])[0] == f"one\n\n{GAP}"
    assert join(text, [(5, 8), (17, 21)])[0] == f"{GAP}\n\ntwo\n\n{GAP}\n\nfour"
    assert join(text, [(0, 3), (5, 8)])[0] == f"one\n\ntwo\n\n{GAP}"
    assert join(text, [])[0] == ""


@given(TEXTS.filter(str.strip), st.integers(5, 60), st.data())
def test_what_is_quoted_is_found_again(text: str, size: int, data: st.DataObject) -> None:
    passages = cut(text, size)
    spans = sorted(data.draw(st.sets(st.sampled_from(passages), min_size=1)))
    joined, pieces = join(text, spans)
    start = data.draw(st.integers(0, len(joined)))
    end = data.draw(st.integers(start, len(joined)))
    found = locate(pieces, start, end)
    quoted = joined[start:end].replace(GAP, "") if GAP not in text else joined[start:end]
    shown = words("".join(text[a:b] for a, b in found))
    assert shown == words(quoted.strip("[…]"))


def test_a_quote_over_a_gap_is_in_two_places() -> None:
    text = "one two\n\nthree\n\nfour five"
    joined, pieces = join(text, [(0, 7), (16, 25)])
    start, end = joined.index("two"), joined.index(" five")
    assert [text[a:b] for a, b in locate(pieces, start, end)] == ["two", "four"]
    assert locate(pieces, joined.index(GAP), joined.index(GAP) + 1) == []
    assert locate(pieces, 0, 3) == [Span(0, 3)]
