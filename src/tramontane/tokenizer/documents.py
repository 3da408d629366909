"""Documents in a prompt: plain text that any client can write, and the only place that writes it.

    [1] # Opening hours
    The shop opens at nine.

    [2] A document without a title, which may have

    several paragraphs.

    When does the shop open?

Each document begins a paragraph with its number, counted up from 1; a title is a first line that begins with "# "; the
last paragraph is the question. A paragraph inside a document that looks like one of these gets one blank in front,
which reading takes away again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BLANK_LINES = re.compile(r"\n{2,}")
_TITLE = re.compile(r"# (\S[^\n]*)\n")

# Where a blank goes in front of what only looks like a number or a title, and where it is taken away again. A body's
# own beginning stands behind its number, so there only a paragraph further down can be taken for a document.
_LIKE_NUMBER, _STUFFED_NUMBER = re.compile(r"(?<=\n\n)(?= *\[\d+\])"), re.compile(r"(?<=\n\n) (?= *\[\d+\])")
_LIKE_TITLE, _STUFFED_TITLE = re.compile(r"\A(?= *# )"), re.compile(r"\A (?= *# )")
_LIKE_NUMBER_FIRST, _STUFFED_FIRST = re.compile(r"\A(?= *\[\d+\])"), re.compile(r"\A (?= *\[\d+\])")


@dataclass(frozen=True)
class Document:
    """A passage to answer from. `id` is for the caller, to find the source of a citation; a prompt does not show it."""

    text: str
    title: str | None = None
    id: str | None = None


def render_documents(documents: Sequence[Document], question: str) -> str:
    """A user's message: the documents, numbered from 1, then the question in one paragraph.

    Line ends become "\\n" and blank lines inside the question single line ends; titles become one line. Without
    documents the question is the message, unchanged.
    """
    if not documents:
        return question
    paragraphs = [f"[{number}] {_body(document)}" for number, document in enumerate(documents, start=1)]
    asked = _BLANK_LINES.sub("\n", _unix(question).strip("\n"))
    return "\n\n".join([*paragraphs, _LIKE_NUMBER_FIRST.sub(" ", asked)])


def parse_documents(text: str) -> tuple[list[Document], str]:
    """The documents and the question of a user's message; no documents, and the text itself, in any other text.

    The inverse of `render_documents`: what it rendered comes back, but for ids.
    """
    unix = _unix(text)
    starts = _document_starts(unix)
    question_start = unix.rfind("\n\n") + 2
    if not starts or question_start < starts[-1][1]:
        return [], text
    ends = [begin - 2 for begin, _ in starts[1:]] + [question_start - 2]
    documents = [_read_body(unix[start:end]) for (_, start), end in zip(starts, ends, strict=True)]
    return documents, _STUFFED_FIRST.sub("", unix[question_start:].rstrip("\n"))


def _document_starts(text: str) -> list[tuple[int, int]]:
    """Where each document's number begins and where its body does: [1], [2], … at the beginning of paragraphs."""
    starts: list[tuple[int, int]] = []
    begin = 0
    while True:
        mark = f"[{len(starts) + 1}] "
        if starts:
            begin = text.find("\n\n" + mark, starts[-1][1]) + 2
            if begin == 1:
                return starts
        elif not text.startswith(mark):
            return []
        starts.append((begin, begin + len(mark)))


def _body(document: Document) -> str:
    text, title = _unix(document.text), _one_line(document.title or "")
    return _LIKE_NUMBER.sub(" ", f"# {title}\n{text}" if title else _LIKE_TITLE.sub(" ", text))


def _read_body(body: str) -> Document:
    body = _STUFFED_NUMBER.sub("", body)
    if title := _TITLE.match(body):
        return Document(text=body[title.end() :], title=_one_line(title[1]))
    return Document(text=_STUFFED_TITLE.sub("", body))


def _one_line(title: str) -> str:
    return " ".join(title.split())


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
