"""Whose a conversation is, a document or a preset: a user's, in one workspace."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_

from tramontane.conversations.tables import Conversation, Preset, StoredDocument


@dataclass(frozen=True, slots=True)
class Owner:
    """A user at work in a workspace. Colleagues in the same workspace do not see each other's conversations."""

    workspace_id: str
    user_id: str

    def owns(self, table: type[Conversation] | type[StoredDocument] | type[Preset]) -> ColumnElement[bool]:
        """The predicate that stands in every query."""
        return and_(table.workspace_id == self.workspace_id, table.user_id == self.user_id)
