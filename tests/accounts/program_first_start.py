"""A start: prints the new key, where there is one, and the link."""

from __future__ import annotations

import asyncio
import sys

from tests.storage.places import place_of
from tests.storage.processes import wait_for_go
from tramontane.accounts.first_start import prepare_accounts
from tramontane.accounts.secrets import Secret
from tramontane.storage.database import Database


async def main(db: Database, chosen_key: Secret | None) -> None:
    wait_for_go()
    await db.upgrade()
    start = await prepare_accounts(db, chosen_key)
    print(start.new_key.reveal() if start.new_key else "-", start.link.reveal())


asyncio.run(main(place_of(sys.argv[1:3]).open(), Secret(sys.argv[3]) if sys.argv[3] else None))
