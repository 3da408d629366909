"""Documents and question survive being written into a message, and no other text is taken for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.tokenizer.documents import Document, parse_documents, render_documents

# Pieces that attack the layout: numbers, titles, blank lines, in any order.
_pieces = st.lists(
    st.sampled_from(["[1] ", "[2] ", "[3]", " [2] ", "# ", " # ", "\n", "\n\n", "\n\n\n", " ", "a", "b c", "# t\n"])
    | st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=5),
    max_size=8,
).map("".join)
_titles = st.none() | _pieces.map(lambda text: " ".join(text.split()) or None)
_documents = st.lists(st.builds(Document, text=_pieces, title=_titles), min_size=1, max_size=12)
_questions = _pieces.filter(lambda text: "\n\n" not in text and text == text.strip("\n"))


def test_the_layout() -> None:
    documents = [Document("The shop opens at nine.", title="Opening\n hours", id="doc-7"), Document("It is in Nîmes.")]
    assert render_documents(documents, "When does it open?") == (
        "[1] # Opening hours\nThe shop opens at nine.\n\n[2] It is in Nîmes.\n\nWhen does it open?"
    )


@given(_documents, _questions)
def test_documents_and_question_come_back(documents: list[Document], question: str) -> None:
    assert parse_documents(render_documents(documents, question)) == (documents, question)


@given(_documents, _pieces)
def test_rendering_what_was_read_changes_nothing(documents: list[Document], question: str) -> None:
    text = render_documents(documents, question)
    assert render_documents(*parse_documents(text)) == text


@given(_pieces)
def test_any_message_can_be_read_and_read_again(text: str) -> None:
    documents, question = parse_documents(text)
    if not documents:
        assert question == text
    else:
        assert parse_documents(render_documents(documents, question)) == (documents, question)


def test_a_document_that_quotes_the_layout_stays_one_document() -> None:
    quoting = Document("See:\n\n[2] Smith 2003\n\n [2] Jones\n\n[17] more")
    documents, question = parse_documents(render_documents([quoting, Document("x")], "[3] who?"))
    assert documents == [quoting, Document("x")]
    assert question == "[3] who?"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the capital of France?",
        "[1] A single paragraph has no question.",
        "[2] Numbers begin at one.\n\nWhy?",
        "Here they are:\n\n[1] They begin the message.\n\nWhy?",
        "[1]No blank.\n\nWhy?",
        "[one] Not a number.\n\nWhy?",
        "[1] a\n\n[2] the last paragraph is a document",
    ],
)
def test_a_text_without_the_layout_has_no_documents(text: str) -> None:
    assert parse_documents(text) == ([], text)


def test_a_message_written_by_hand_is_understood() -> None:
    text = "[1] Paris is in France.\r\n\r\nIt has a river.\r\n\r\n[2] Rome is in Italy.\r\n\r\nWhere is Rome?"
    assert parse_documents(text) == (
        [Document("Paris is in France.\n\nIt has a river."), Document("Rome is in Italy.")],
        "Where is Rome?",
    )


def test_numbers_out_of_order_belong_to_the_document_before() -> None:
    documents, question = parse_documents("[1] a\n\n[3] b\n\n[2] c\n\nq")
    assert (documents, question) == ([Document("a\n\n[3] b"), Document("c")], "q")


def test_without_documents_the_question_is_the_message() -> None:
    assert render_documents([], "a\r\n\n\nb") == "a\r\n\n\nb"
