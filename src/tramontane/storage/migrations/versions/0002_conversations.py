"""Conversations, documents, shares and presets, with indexes of the words in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_AUTHORS = ("user", "assistant")
_STATES = ("writing", "done", "stopped", "failed", "interrupted")

# What PostgreSQL's `unaccent` does, without the extension, which not every server has. SQLite's tokenizer does it.
_ACCENTED = "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿ"
_PLAIN = "AAAAAACEEEEIIIINOOOOOUUUUYaaaaaaceeeeiiiinooooouuuuyy"


def upgrade() -> None:
    """Makes the tables of conversations and their full-text indexes."""
    _make_conversations()
    _make_documents()
    _make_shares_and_presets()
    # An answer that is being written is indexed when it has ended, not each second.
    if op.get_bind().dialect.name == "sqlite":
        _index_words_of_sqlite("fts_conversations", "conversations", "number", "title")
        _index_words_of_sqlite("fts_messages", "conversation_messages", "number", "content", "state <> 'writing'")
        _index_words_of_sqlite("fts_passages", "passages", "id", "text")
    else:
        _index_words_of_postgresql()


def _make_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("number", sa.Integer, primary_key=True),
        _id(primary_key=False),
        _reference("workspace_id", "workspaces.id"),
        _reference("user_id", "users.id"),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        *_settings(),
        sa.Column("quotes", sa.Boolean, nullable=False),
        sa.Column("tools", sa.JSON, nullable=False),
        sa.Column("head_id", sa.String(32)),
        _moment("created_at"),
        _moment("updated_at"),
        sa.Index("ix_conversations_owner", "workspace_id", "user_id", "updated_at"),
    )
    op.create_table(
        "conversation_messages",
        sa.Column("number", sa.Integer, primary_key=True),
        _id(primary_key=False),
        _reference("conversation_id", "conversations.id", cascade=True, index=True),
        sa.Column("parent_id", sa.String(32), sa.ForeignKey("conversation_messages.id"), index=True),
        sa.Column("author", _words(_AUTHORS, "author"), nullable=False),
        sa.Column("state", _words(_STATES, "message_state"), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("thinking", sa.Text, nullable=False),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("tool_calls", "quotes", "given", "not_given")),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("compared_with", sa.String(32)),
        sa.Column("problem", sa.String(40)),
        sa.Column("finish_reason", sa.String(20)),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("first_token_seconds", sa.Double),
        sa.Column("tokens_per_second", sa.Double),
        sa.Column("left_out", sa.Integer, nullable=False),
        _moment("created_at"),
    )
    writing = sa.text("state = 'writing'")
    op.create_index(
        "ix_conversation_messages_writing",
        "conversation_messages",
        ["conversation_id"],
        sqlite_where=writing,
        postgresql_where=writing,
    )


def _make_documents() -> None:
    op.create_table(
        "documents",
        _id(),
        _reference("workspace_id", "workspaces.id"),
        _reference("user_id", "users.id"),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("num_bytes", sa.Integer, nullable=False),
        sa.Column("num_pages", sa.Integer),
        sa.Column("num_characters", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        _moment("created_at"),
        sa.Index("ix_documents_owner", "workspace_id", "user_id", "created_at"),
    )
    op.create_table(
        "passages",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("document_id", "documents.id", cascade=True, index=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "conversation_documents",
        _reference("conversation_id", "conversations.id", primary_key=True, cascade=True),
        _reference("document_id", "documents.id", primary_key=True, cascade=True, index=True),
        sa.Column("position", sa.Integer, nullable=False),
    )


def _make_shares_and_presets() -> None:
    op.create_table(
        "conversation_shares",
        _id(),
        _reference("conversation_id", "conversations.id", cascade=True, index=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("head_id", sa.String(32), nullable=False),
        _moment("created_at"),
        _moment("revoked_at", nullable=True),
    )
    op.create_table(
        "presets",
        _id(),
        _reference("workspace_id", "workspaces.id", index=True),
        _reference("user_id", "users.id"),
        sa.Column("name", sa.String(100), nullable=False),
        *_settings(),
    )


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _index_words_of_sqlite(index: str, table: str, rowid: str, column: str, condition: str = "") -> None:
    """An index beside the table, without the texts themselves; triggers keep the two in step.

    What is taken out of such an index must be exactly what was put in, so both ask the same condition.
    """
    op.execute(
        f"CREATE VIRTUAL TABLE {index} USING fts5({column}, content='{table}', content_rowid='{rowid}', "
        "tokenize='unicode61 remove_diacritics 2')"
    )
    put = f"INSERT INTO {index}(rowid, {column}) SELECT new.{rowid}, new.{column}"
    take = f"INSERT INTO {index}({index}, rowid, {column}) SELECT 'delete', old.{rowid}, old.{column}"
    if condition:
        put, take = f"{put} WHERE new.{condition}", f"{take} WHERE old.{condition}"
    changed = f"{column}, state" if condition else column
    for event, steps in (("INSERT", [put]), ("DELETE", [take]), (f"UPDATE OF {changed}", [take, put])):
        name = f"{index}_{event.split()[0].lower()}"
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {'; '.join(steps)}; END")


def _index_words_of_postgresql() -> None:
    _index_column_of_postgresql("conversations", "title")
    _index_column_of_postgresql("conversation_messages", "content", "WHEN state <> 'writing'")
    _index_column_of_postgresql("passages", "text")


def _index_column_of_postgresql(table: str, column: str, condition: str = "WHEN true") -> None:
    """A column of the words, so that neither search nor ranking takes them out of the text again."""
    # Beyond so many characters a text may hold more words than one column can.
    plain = f"translate(left({column}, 100000), '{_ACCENTED}', '{_PLAIN}')"
    words = f"CASE {condition} THEN to_tsvector('pg_catalog.simple', {plain}) END"
    op.execute(f"ALTER TABLE {table} ADD COLUMN fts_words tsvector GENERATED ALWAYS AS ({words}) STORED")
    op.execute(f"CREATE INDEX fts_{table} ON {table} USING gin (fts_words)")


# ── columns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _id(primary_key: bool = True) -> sa.Column[str]:
    return sa.Column("id", sa.String(32), primary_key=primary_key, unique=None if primary_key else True, nullable=False)


def _settings() -> list[sa.Column[object]]:
    return [
        sa.Column("system_prompt", sa.Text, nullable=False),
        sa.Column("temperature", sa.Double),
        sa.Column("max_tokens", sa.Integer),
    ]


def _words(words: tuple[str, ...], name: str) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True)


def _moment(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _reference(
    name: str, to: str, primary_key: bool = False, cascade: bool = False, index: bool = False
) -> sa.Column[str]:
    key = sa.ForeignKey(to, ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(32), key, primary_key=primary_key, index=index or None, nullable=False)
