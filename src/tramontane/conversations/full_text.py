"""Search for words, in SQLite's FTS5 and in PostgreSQL's tsvector: the one module that knows which database it is.

What a user searches for is data. Its words are taken out of it, and each is quoted: no sign in it means anything to
either database, and what holds no word finds nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice

from sqlalchemy import ColumnElement, Integer, bindparam, func, literal_column, text
from sqlalchemy import column as column_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from tramontane.conversations.stop_words import STOP_WORDS
from tramontane.conversations.tables import Conversation, ConversationMessage

SEARCHED_CHARACTERS = 100_000
"""Of a message: on PostgreSQL, what stands beyond is not found."""

_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 64  # of a query or question
_LONGEST_WORD = 64  # characters
_INFLECTED = 6  # letters: from so many on a word is also found by all but its last two, whatever its ending
_EXCERPT_BEFORE, _EXCERPT_AFTER = 60, 120

# PostgreSQL's index holds these letters without their accents (migration 0002); SQLite's tokenizer drops all accents.
_UNACCENTED = str.maketrans(
    "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿ", "AAAAAACEEEEIIIINOOOOOUUUUYaaaaaaceeeeiiiinooooouuuuyy"
)


def words_of(query: str) -> list[str]:
    """The words of a text, in their order."""
    words = _WORD.finditer(unicodedata.normalize("NFC", query))
    return [word[0][:_LONGEST_WORD] for word in islice(words, _MOST_WORDS)]


class _PlainCharacters(dict[str, str]):
    """Each character without its accents and in lower case, and one character as before: places stay what they are."""

    def __missing__(self, character: str) -> str:
        plain = unicodedata.normalize("NFD", character)[0] if character.isalpha() else character
        self[character] = lowered = plain.lower()[:1]
        return lowered


_PLAIN = _PlainCharacters()


def _plain(composed: str) -> str:
    return "".join(map(_PLAIN.__getitem__, composed))


# ── conversations ───────────────────────────────────────────────────────────────────────────────────────────────────


def title_matches(session: AsyncSession, words: Sequence[str]) -> ColumnElement[bool]:
    """Whether a conversation's title holds all words, the last of them perhaps unfinished."""
    return _matches(session, "fts_conversations", Conversation.number, "conversations", words)


def message_matches(session: AsyncSession, words: Sequence[str]) -> ColumnElement[bool]:
    """Whether a message holds all words, the last of them perhaps unfinished."""
    return _matches(session, "fts_messages", ConversationMessage.number, "conversation_messages", words)


def _matches(
    session: AsyncSession, index: str, number: InstrumentedAttribute[int], table: str, words: Sequence[str]
) -> ColumnElement[bool]:
    assert words
    if _is_sqlite(session):
        query = " AND ".join(f'"{word}"' for word in words) + " *"
        found = text(f"SELECT rowid FROM {index} WHERE {index} MATCH :query").bindparams(query=query)
        return number.in_(found.columns(column_("rowid", Integer)))
    query = " & ".join(f"'{word.translate(_UNACCENTED)}'" for word in words) + ":*"
    return literal_column(f"{table}.fts_words").op("@@", is_comparison=True)(func.to_tsquery("simple", query))


def excerpt(content: str, words: Sequence[str]) -> str | None:
    """The words around the first hit, as plain text in one line; None where there is no hit."""
    composed = unicodedata.normalize("NFC", content[:SEARCHED_CHARACTERS])
    anywhere = re.compile(rf"(?<![^\W_])(?:{'|'.join(map(_plain, words))})")
    hit = anywhere.search(_plain(composed))
    if hit is None:
        return None
    start, end = max(0, hit.start() - _EXCERPT_BEFORE), min(len(composed), hit.end() + _EXCERPT_AFTER)
    start = composed.find(" ", start, hit.start()) + 1 or start if start else 0
    end = composed.rfind(" ", hit.end(), end) if end < len(composed) and " " in composed[hit.end() : end] else end
    shown = " ".join(composed[start:end].split())
    return f"{'… ' if start else ''}{shown}{' …' if end < len(composed) else ''}"


# ── passages ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def rank_passages(
    session: AsyncSession, document_ids: Sequence[str], question: str, most: int
) -> list[tuple[str, int]]:
    """Document and number of the passages that hold words of a question, the best first.

    Whose the documents are is the caller's to see to.
    """
    words = [word.lower() for word in words_of(question)]
    telling = [word for word in dict.fromkeys(words) if _plain(word) not in STOP_WORDS] or list(dict.fromkeys(words))
    if not telling or not document_ids:
        return []
    ranked, query = (_BY_BM25, _either_of_fts5) if _is_sqlite(session) else (_BY_TS_RANK, _either_of_tsquery)
    rows = await session.execute(ranked, {"ids": document_ids, "query": query(telling), "most": most})
    return [(document_id, number) for document_id, number in rows]


_BY_BM25 = text(
    "SELECT passages.document_id, passages.number "
    "FROM fts_passages JOIN passages ON passages.id = fts_passages.rowid "
    "WHERE fts_passages MATCH :query AND passages.document_id IN :ids "
    "ORDER BY bm25(fts_passages), passages.id LIMIT :most"
).bindparams(bindparam("ids", expanding=True))

# 1: divided by the logarithm of the passage's length.
_BY_TS_RANK = text(
    "SELECT document_id, number FROM passages "
    "WHERE document_id IN :ids AND fts_words @@ to_tsquery('simple', :query) "
    "ORDER BY ts_rank(fts_words, to_tsquery('simple', :query), 1) DESC, id LIMIT :most"
).bindparams(bindparam("ids", expanding=True))


def _either_of_fts5(words: Sequence[str]) -> str:
    stems = [f'"{word[:-2]}" *' for word in words if len(word) >= _INFLECTED]
    return " OR ".join([f'"{word}"' for word in words] + stems)


def _either_of_tsquery(words: Sequence[str]) -> str:
    unaccented = [word.translate(_UNACCENTED) for word in words]
    stems = [f"'{word[:-2]}':*" for word in unaccented if len(word) >= _INFLECTED]
    return " | ".join([f"'{word}'" for word in unaccented] + stems)


def _is_sqlite(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "sqlite"
