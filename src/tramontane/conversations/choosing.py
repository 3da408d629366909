"""What of a conversation's documents the model is given: passages that fit its context, or one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tramontane.conversations import passages
from tramontane.conversations.errors import NoRoomError
from tramontane.conversations.material import Material
from tramontane.conversations.passages import Given, Piece, Span
from tramontane.conversations.sentences import best_sentence
from tramontane.conversations.tables import StoredDocument
from tramontane.tokenizer.documents import Document

_MOST_QUOTABLE = 250_000  # characters: a grammar of all spans of a longer text takes seconds to make
_DOCUMENT_FRAME = 16  # characters around a document, beside its name
_MOST_SEARCHED, _MOST_SEARCHED_PASSAGES = 100_000, 100  # characters, and beyond them passages, for one sentence
NOTHING = "…"
"""A document of which nothing can be quoted."""


@dataclass(slots=True)
class Chosen:
    """The documents that the model is given, numbered from 1, and what is kept of how they were given."""

    given: list[Document] = field(default_factory=list)
    described: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[list[Piece]] = field(default_factory=list)
    not_given: list[str] = field(default_factory=list)
    are_whole: bool = True

    def add(self, document: StoredDocument, given: Given, text: str, pieces: list[Piece]) -> None:
        """Gives a document under the next number: `text`, made of these pieces of it."""
        self.given.append(Document(text, title=document.name, id=document.id))
        self.pieces.append(pieces)
        self.described.append(
            {
                "number": len(self.given),
                "document_id": document.id,
                "name": document.name,
                "whole": given.whole,
                "passages": as_spans(given.spans),
            }
        )


def choose_passages(material: Material, characters: int) -> Chosen:
    """What of the documents finds room in so many characters; raises NoRoomError where nothing does."""
    frames = sum(len(document.name) + _DOCUMENT_FRAME for document in material.documents)
    budget = characters - frames
    if material.conversation.quotes:
        budget = min(budget, _MOST_QUOTABLE)
    lengths = [passages.Document(len(d.text), material.passages[d.id]) for d in material.documents]
    choice = passages.choose(lengths, material.ranking, max(0, budget))
    chosen = Chosen(
        not_given=[material.documents[index].name for index in choice.left_out],
        are_whole=all(given.whole for given in choice.given),
    )
    for document, given in zip(material.documents, choice.given, strict=True):
        if given.spans:
            chosen.add(document, given, *passages.join(document.text, given.spans))
    if not chosen.given:
        raise NoRoomError("Not even one passage of the documents finds room: ask something shorter, or another model.")
    return chosen


def choose_sentence(material: Material) -> Chosen:
    """The sentence of all the documents that fits the question best.

    Where none shares a word with the question, nothing that could be quoted: then all that is left to say is that the
    documents do not tell.
    """
    searched = _searched(material)
    found = best_sentence([document.text[slice(*where)] for document, where in searched], material.branch[-1].content)
    chosen = Chosen()  # all that there is to be given, so `are_whole`: more room would change nothing
    if found is None:
        chosen.given.append(Document(NOTHING, title=material.documents[0].name))
        return chosen
    document, (start, _) = searched[found[0]]
    span = Span(start + found[1].start, start + found[1].end)
    chosen.add(document, Given((span,), whole=False), document.text[slice(*span)], [Piece(0, span)])
    return chosen


def _searched(material: Material) -> list[tuple[StoredDocument, Span]]:
    """Where a sentence is looked for: everywhere in short documents, in the best passages of long ones."""
    if sum(len(document.text) for document in material.documents) <= _MOST_SEARCHED:
        return [(document, Span(0, len(document.text))) for document in material.documents]
    found = []
    for index, number in material.ranking[:_MOST_SEARCHED_PASSAGES]:
        document = material.documents[index]
        if number < len(spans := material.passages[document.id]):
            found.append((document, spans[number]))
    return found


def as_spans(spans: Sequence[Span]) -> list[dict[str, int]]:
    """As they are kept."""
    return [{"start": start, "end": end} for start, end in spans]
