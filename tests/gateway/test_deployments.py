"""What is asked of one deployment twice at once is done once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tramontane.accounts.first_start import prepare_accounts
from tramontane.catalogue.store import ModelStore
from tramontane.gateway.deployments import Deployments
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.storage.database import Database


def test_the_second_of_two_starts_and_of_two_deletions_does_nothing_more(tmp_path: Path) -> None:
    """Both were found to be possible before either was kept."""

    async def scenario() -> None:
        database, provider = Database.open(None, tmp_path), LocalProvider([], LocalOptions(kv_memory_bytes=8 << 20))
        await database.upgrade()
        await prepare_accounts(database, None)
        manager, changed = Deployments(database, ModelStore(tmp_path), provider), asyncio.Event()
        manager.on_change = changed.set
        async with database.write() as session:
            row = await manager.add(session, manager.plan("random:tiny-15m", "one", "none"))
        manager.take_up(row)
        manager.stop(row.id)
        manager.check_start(row.id)
        manager.set_to_work()
        manager.start(row.id)
        while manager.get(row.id).state != "running":
            changed.clear()
            await asyncio.wait_for(changed.wait(), 60.0)

        manager.start(row.id)
        assert manager.get(row.id).state == "running"
        assert manager._queue.empty()  # else it would be taken down, with all its answers, to be loaded again

        async with database.write() as session:
            await manager.delete(session, row.id)
        manager.forget(row.id)
        manager.forget(row.id)
        await asyncio.sleep(0)  # its model goes on the loop's next turn
        assert manager.all() == []
        await manager.close()
        provider.close()
        await database.close()

    asyncio.run(scenario())
