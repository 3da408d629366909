"""Each test that asks for a `place` runs on SQLite and on PostgreSQL."""

from tests.billing.ready import place

__all__ = ["place"]
