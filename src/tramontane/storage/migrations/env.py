"""Alembic runs this; the connection, with its transaction, is `tramontane.storage.schema.upgrade`'s."""

from __future__ import annotations

from alembic import context

from tramontane.storage.base import Base

# The metadata for its naming convention: migrations leave the names of constraints to it.
context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
