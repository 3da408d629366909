"""The tables of conversations: a row a message, a row a passage of a document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import JSON, Enum, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from tramontane.accounts.tables import User, Workspace
from tramontane.storage.base import Base, new_id, now

Author = Literal["user", "assistant"]
MessageState = Literal["writing", "done", "stopped", "failed", "interrupted"]

_Id = String(32)

WRITING = text("state = 'writing'")
"""Of a message: the literal condition by which its partial index is found."""


class Conversation(Base):
    """Messages that form a tree: a question or an answer that was made anew is a sibling of the old one.

    `head_id` is the last message of the branch that is shown.
    """

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_owner", "workspace_id", "user_id", "updated_at"),)

    number: Mapped[int] = mapped_column(primary_key=True)  # an integer, as the full-text index wants it
    id: Mapped[str] = mapped_column(_Id, unique=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id))
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id))
    title: Mapped[str] = mapped_column(String(200), default="")
    model: Mapped[str] = mapped_column(String(200))
    system_prompt: Mapped[str] = mapped_column(Text, default="")
    temperature: Mapped[float | None]  # None: the server's default
    max_tokens: Mapped[int | None]
    quotes: Mapped[bool] = mapped_column(default=True)  # with documents: answers are verbatim quotes
    tools: Mapped[list[Any]] = mapped_column(JSON, default=list)
    head_id: Mapped[str | None] = mapped_column(_Id)  # no foreign key: messages refer to conversations already
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class ConversationMessage(Base):
    """One message. Of an answer also how it was made, and which passages the model was given."""

    __tablename__ = "conversation_messages"
    __table_args__ = (
        # Holds next to nothing: what is being written is looked for at each start and each question.
        Index("ix_conversation_messages_writing", "conversation_id", sqlite_where=WRITING, postgresql_where=WRITING),
    )

    number: Mapped[int] = mapped_column(primary_key=True)  # in the order of their writing: children after parents
    id: Mapped[str] = mapped_column(_Id, unique=True, default=new_id)
    conversation_id: Mapped[str] = mapped_column(ForeignKey(Conversation.id, ondelete="CASCADE"), index=True)
    # No cascade, which would go as deep as the conversation is long: all messages go at once, with the conversation.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("conversation_messages.id"), index=True)
    author: Mapped[Author] = mapped_column(
        Enum(*get_args(Author), name="author", native_enum=False, create_constraint=True)
    )
    state: Mapped[MessageState] = mapped_column(
        Enum(*get_args(MessageState), name="message_state", native_enum=False, create_constraint=True), default="done"
    )
    content: Mapped[str] = mapped_column(Text, default="")
    thinking: Mapped[str] = mapped_column(Text, default="")
    tool_calls: Mapped[list[Any]] = mapped_column(JSON, default=list)
    quotes: Mapped[list[Any]] = mapped_column(JSON, default=list)
    given: Mapped[list[Any]] = mapped_column(JSON, default=list)  # documents with their passages, as the model saw them
    not_given: Mapped[list[Any]] = mapped_column(JSON, default=list)  # names of documents that found no room
    model: Mapped[str] = mapped_column(String(200), default="")
    compared_with: Mapped[str | None] = mapped_column(_Id)  # the first of the answers that stand side by side
    problem: Mapped[str | None] = mapped_column(String(40))  # of a failed answer: the error's type
    finish_reason: Mapped[str | None] = mapped_column(String(20))
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    first_token_seconds: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    left_out: Mapped[int] = mapped_column(default=0)  # earlier messages for which there was no room
    created_at: Mapped[datetime] = mapped_column(default=now)


class StoredDocument(Base):
    """A document of a user's library: its text; the file that it came in is not kept."""

    __tablename__ = "documents"
    __table_args__ = (Index("ix_documents_owner", "workspace_id", "user_id", "created_at"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id))
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id))
    name: Mapped[str] = mapped_column(String(300))
    media_type: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the file
    num_bytes: Mapped[int]
    num_pages: Mapped[int | None]
    num_characters: Mapped[int]
    text: Mapped[str] = mapped_column(Text, deferred=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Passage(Base):
    """A piece of a document, `document.text[start:end]`: what is ranked against a question."""

    __tablename__ = "passages"

    id: Mapped[int] = mapped_column(primary_key=True)  # an integer, as the full-text index wants it
    document_id: Mapped[str] = mapped_column(ForeignKey(StoredDocument.id, ondelete="CASCADE"), index=True)
    number: Mapped[int]  # from 0, in reading order
    start: Mapped[int]
    end: Mapped[int]
    text: Mapped[str] = mapped_column(Text)


class Attachment(Base):
    """A document of a conversation. Documents are numbered by `position`."""

    __tablename__ = "conversation_documents"

    conversation_id: Mapped[str] = mapped_column(ForeignKey(Conversation.id, ondelete="CASCADE"), primary_key=True)
    document_id: Mapped[str] = mapped_column(
        ForeignKey(StoredDocument.id, ondelete="CASCADE"), primary_key=True, index=True
    )
    position: Mapped[int]


class Share(Base):
    """A link by which anybody reads one branch of a conversation, until it is revoked."""

    __tablename__ = "conversation_shares"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    conversation_id: Mapped[str] = mapped_column(ForeignKey(Conversation.id, ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    head_id: Mapped[str] = mapped_column(_Id)  # what was written later is not shared
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]


class Preset(Base):
    """Settings of a conversation under a name."""

    __tablename__ = "presets"

    id: Mapped[str] = mapped_column(_Id, primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey(Workspace.id), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id))
    name: Mapped[str] = mapped_column(String(100))
    system_prompt: Mapped[str] = mapped_column(Text, default="")
    temperature: Mapped[float | None]
    max_tokens: Mapped[int | None]
