"""Writes pairs of rows without end, and tells the number of each pair once it is committed."""

from __future__ import annotations

import asyncio
import itertools
import sys

from tests.storage.pairs import write_pair
from tests.storage.places import place_of
from tests.storage.processes import wait_for_go
from tramontane.storage.database import Database


async def main(db: Database) -> None:
    await db.upgrade()
    wait_for_go()
    for number in itertools.count():
        await write_pair(db, number)
        print(number, flush=True)


asyncio.run(main(place_of(sys.argv[1:]).open()))
