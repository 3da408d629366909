"""Limits are set for what is the organisation's and still works, and of several changes at once the last is whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.billing.tenants import Tenant, add_tenant
from tests.storage.places import Place
from tramontane.accounts.tables import ApiKey, Workspace
from tramontane.billing.limits import copy_limit, list_limits, set_limit
from tramontane.billing.tables import Limit, Scope
from tramontane.errors import MissingError
from tramontane.storage.base import now
from tramontane.storage.database import Database

NONE = dict.fromkeys(("requests_per_second", "tokens_per_minute", "tokens_per_month", "spend_per_month"))


async def put(db: Database, tenant: Tenant, scope: Scope, scope_id: str, **values: int) -> Any:
    async with db.write() as session:
        return await set_limit(session, tenant.organisation_id, scope, scope_id, {**NONE, **values})


async def rows(db: Database) -> list[tuple[Any, ...]]:
    async with db.read() as session:
        return [(one.scope, one.scope_id, one.tokens_per_minute) for one in await session.scalars(select(Limit))]


def test_limits_are_set_lifted_and_listed(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            tenant, other = await add_tenant(session, workspaces=2), await add_tenant(session, "Bora")
        (workspace, gone), (key, revoked) = tenant.workspace_ids, tenant.key_ids
        every = [("organisation", tenant.organisation_id), ("workspace", workspace), ("key", key)]
        for scope, scope_id in every:
            made = await put(db, tenant, scope, scope_id, tokens_per_minute=7)  # type: ignore[arg-type]
            assert (made.scope_id, made.limits.tokens_per_minute, made.limits.spend_per_month) == (scope_id, 7, None)
        async with db.write() as session:
            await session.execute(update(Workspace).where(Workspace.id == gone).values(archived_at=now()))
            await session.execute(update(ApiKey).where(ApiKey.id == revoked).values(revoked_at=now()))
        wrong: list[tuple[Scope, str]] = [("workspace", gone), ("key", revoked), ("key", workspace), ("workspace", "")]
        wrong += [("organisation", other.organisation_id), ("workspace", other.workspace_ids[0])]
        for scope, scope_id in [*wrong, ("key", other.key_ids[0])]:
            with pytest.raises(MissingError, match=f"no such {scope}"):
                await put(db, tenant, scope, scope_id, tokens_per_minute=7)
        async with db.read() as session:
            listed = await list_limits(session, tenant.organisation_id)
        assert [(one.scope, one.scope_id) for one in listed] == every
        for scope, scope_id in every:
            assert (await put(db, tenant, scope, scope_id)).limits is None  # type: ignore[arg-type]
        assert await rows(db) == []

    place.run(scenario)


def test_of_changes_at_once_one_stays(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            tenant = await add_tenant(session)
        key = tenant.key_ids[0]
        values = [value for value in range(1, 9) for _ in range(2)]
        await asyncio.gather(*(put(db, tenant, "key", key, tokens_per_minute=value) for value in values))
        ((_, _, stayed),) = await rows(db)
        assert stayed in values

    place.run(scenario)


def test_a_key_in_anothers_place_has_its_limits(place: Place) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            tenant = await add_tenant(session, workspaces=2)
        old, new = tenant.key_ids
        async with db.write() as session:
            await copy_limit(session, old, new)
        assert await rows(db) == []
        await put(db, tenant, "key", old, tokens_per_minute=9)
        async with db.write() as session:
            await copy_limit(session, old, new)
        assert sorted(await rows(db)) == sorted([("key", old, 9), ("key", new, 9)])

    place.run(scenario)
