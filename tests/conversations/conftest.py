"""Each test that asks for a `place` runs on SQLite and on PostgreSQL."""

from tests.storage.places import place

__all__ = ["place"]
