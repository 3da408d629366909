"""`tramontane eval --sentence`: questions on documents as the chat asks a small model, with the sentence that fits."""

from __future__ import annotations

from dataclasses import replace

from tramontane.conversations.choosing import NOTHING
from tramontane.conversations.sentences import best_sentence
from tramontane.evaluation.asking import Question, Reply
from tramontane.tokenizer.documents import Document, parse_documents, render_documents


def with_its_sentence(question: Question) -> Question:
    """The question with the best sentence of its documents in their place; as it is where it has none."""
    if not question.quotes:
        return question
    *before, last = question.messages
    documents, asked = parse_documents(last["content"])
    found = best_sentence([document.text for document in documents], asked)
    if found is None:
        given, number = Document(NOTHING), 1
    else:
        of_it = documents[found[0]]
        given, number = Document(of_it.text[slice(*found[1])], title=of_it.title), found[0] + 1

    def check(reply: Reply) -> dict[str, bool]:
        return question.check(replace(reply, text=reply.text.replace("[1]", f"[{number}]")))

    message = {**last, "content": render_documents([given], asked)}
    return replace(question, messages=[*before, message], check=check)
