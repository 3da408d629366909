"""Brings a database to the newest schema."""

from __future__ import annotations

import asyncio
import sys

from tests.storage.places import place_of
from tests.storage.processes import wait_for_go
from tramontane.storage import schema

db = place_of(sys.argv[1:]).open()
schema.head()  # loads Alembic
wait_for_go()
asyncio.run(db.upgrade())
