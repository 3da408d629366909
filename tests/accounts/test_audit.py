"""The audit log: nothing of it can be changed, taken out or put in unseen."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.accounts.making import Made, organisation_of
from tests.storage.places import Place
from tramontane.accounts import audit
from tramontane.accounts.audit import Actor, Verification, append
from tramontane.accounts.tables import AUDIT_START, AuditEntry, Organisation
from tramontane.errors import InvalidRequestError
from tramontane.storage.base import new_id
from tramontane.storage.database import Database

ODD: dict[str, Any] = {
    "text": "é \" \\ \x00 \ud800 €", "numbers": [0, -1, 2**70, 1.5, 1e300, True, None], "nested": {"b": {}, "a": [[]]},
    "tuple": (1, 2), 10: "ten", 9: "nine",
}  # fmt: skip


async def write(db: Database, made: Made, number: int, **detail: Any) -> None:
    async with db.write() as session:
        actor = Actor(made.id, made.users["owner"])
        await append(session, actor, "192.0.2.1", "test.write", "thing", str(number), {"number": number, **detail})


async def chain(db: Database, count: int) -> Made:
    made = await organisation_of(db, f"{new_id()}.example", "owner")
    for number in range(1, count + 1):
        await write(db, made, number)
    return made


async def verify(db: Database, made: Made) -> Verification:
    async with db.read() as session:
        return await audit.verify(session, made.id)


async def change(db: Database, statement: Any) -> None:
    async with db.write() as session:
        await session.execute(statement, execution_options={"synchronize_session": False})


def test_a_chain_is_whole_whatever_its_details_are(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_BATCH", 3)  # so that it is read in several

    async def scenario(db: Database) -> None:
        made = await chain(db, 0)
        assert await verify(db, made) == Verification(0, None)
        for number in range(1, 8):
            await write(db, made, number, **{"odd": ODD})
            assert await verify(db, made) == Verification(number, None)

    place.run(scenario)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
)
def test_what_is_hashed_is_what_is_read_again(details: list[dict[str, Any]]) -> None:
    for detail in details:
        try:
            stored = audit._as_stored(detail)
        except InvalidRequestError:  # NaN and infinities
            continue
        assert audit._line(stored) == audit._line(json.loads(json.dumps(stored)))


def test_a_detail_that_is_no_small_json_is_refused(place: Place) -> None:
    details: list[Any] = [{"a": float("nan")}, {"a": object()}, {"a": b""}, {"a": "x" * 70_000}, {(1, 2): 3}]

    async def scenario(db: Database) -> None:
        made = await chain(db, 1)
        for detail in details:
            with pytest.raises(InvalidRequestError):
                async with db.write() as session:
                    await append(session, Actor(made.id, made.users["owner"]), "", "test", "thing", "", detail)
        assert await verify(db, made) == Verification(1, None)

    place.run(scenario)


CHANGES: dict[str, Any] = {
    "at": AuditEntry.at, "actor_id": None, "actor_name": "somebody else", "credential": "key", "address": "192.0.2.9",
    "action": "test.read", "target_kind": "nothing", "target_id": "9", "detail": {"number": 9}, "previous": "f" * 64,
    "hash": "f" * 64,
}  # fmt: skip


def test_whatever_is_changed_is_found(place: Place) -> None:
    assert {*CHANGES, "organisation_id", "number"} == set(AuditEntry.__table__.columns.keys())

    async def scenario(db: Database) -> None:
        made = await chain(db, 4)
        here = (AuditEntry.organisation_id == made.id, AuditEntry.number == 3)
        async with db.read() as session:
            columns = AuditEntry.__table__.columns
            before = dict((await session.execute(select(columns).where(*here))).mappings().one())
        before["detail"] = {"number": 3}
        for name, value in CHANGES.items():
            if name == "at":
                value = before["at"].replace(microsecond=(before["at"].microsecond + 1) % 1_000_000)
            await change(db, update(AuditEntry).where(*here).values({name: value}))
            assert await verify(db, made) == Verification(4, 3), name
            await change(db, update(AuditEntry).where(*here).values({name: before[name]}))
            assert await verify(db, made) == Verification(4, None), name

    place.run(scenario)


def test_a_row_that_cannot_even_be_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite keeps anything in any column."""
    monkeypatch.setattr(audit, "_BATCH", 4)

    async def scenario(db: Database) -> None:
        for changed in ("detail = '{'", "detail = 7", "at = 'yesterday'", "at = 7", "number = 'six'"):
            made = await chain(db, 9)
            where = f"organisation_id = '{made.id}' AND number = 6"
            await change(db, text(f"UPDATE audit_entries SET {changed} WHERE {where}"))
            assert (await verify(db, made)).first_broken == 6, changed

    Place(None, tmp_path).run(scenario)


TAKEN = [([1], 1), ([2], 2), ([2, 3], 2), ([4], 4), ([3, 4], 3), ([1, 2, 3, 4], 1)]


def test_whatever_is_taken_out_is_missed(place: Place) -> None:
    async def scenario(db: Database) -> None:
        for taken, first_broken in TAKEN:
            made = await chain(db, 4)
            here = (AuditEntry.organisation_id == made.id, AuditEntry.number.in_(taken))
            await change(db, delete(AuditEntry).where(*here))
            assert await verify(db, made) == Verification(4, first_broken)

    place.run(scenario)


def test_whatever_is_put_in_is_found(place: Place) -> None:
    """Also in the middle and at the end, with a hash that is right."""

    async def scenario(db: Database) -> None:
        for number in (0, -7, 3, 4):
            made = await chain(db, 3)
            here = (AuditEntry.organisation_id == made.id, AuditEntry.number == 3)
            async with db.read() as session:
                copied = (await session.scalars(select(AuditEntry).where(*here))).one()
            forged = AuditEntry(**{name: getattr(copied, name) for name in audit._HASHED})
            forged.number, forged.previous = number, copied.hash
            forged.hash = audit._hash(forged)
            if number == 3:
                await change(db, update(AuditEntry).where(*here).values(number=4))
            values = {name: getattr(forged, name) for name in (*audit._HASHED, "hash")}
            await change(db, insert(AuditEntry).values(values))
            assert (await verify(db, made)).first_broken == max(number, 1)

    place.run(scenario)


def test_writers_at_once_leave_no_gap(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made, other = await chain(db, 1), place.open()
        writers = (write(each, made, number) for number, each in enumerate([db, other] * 8))
        await asyncio.gather(*writers)
        await other.close()
        assert await verify(db, made) == Verification(17, None)

    place.run(scenario)


async def fail_after_writing(db: Database, made: Made) -> None:
    async with db.write() as session:
        await append(session, Actor(made.id, made.users["owner"]), "", "test", "thing", "", {})
        1 / 0


def test_what_is_rolled_back_leaves_no_gap(place: Place) -> None:
    async def scenario(db: Database) -> None:
        made = await chain(db, 2)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await fail_after_writing(db, made)
        await write(db, made, 3)
        assert await verify(db, made) == Verification(3, None)

    place.run(scenario)


def test_an_export_can_be_checked_by_hand(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_BATCH", 2)

    async def scenario(db: Database) -> None:
        made = await chain(db, 5)
        async with db.read() as session:
            parts = [part async for part in audit.export(session, made.id)]
            head = (await session.get_one(Organisation, made.id)).audit_head
        *lines, end = b"".join(parts).splitlines()
        assert len(parts) == 4
        previous = AUDIT_START
        for number, line in enumerate(lines, 1):
            entry = json.loads(line)
            assert (entry["number"], entry["previous"], entry["detail"]) == (number, previous, {"number": number})
            assert entry["organisation_id"] == made.id
            previous = hashlib.sha256(line).hexdigest()
        assert json.loads(end) == {"entries": 5, "hash": previous} == {"entries": 5, "hash": head}

    place.run(scenario)


def test_pages_and_filters(place: Place) -> None:
    async def numbers(session: AsyncSession, made: Made, **filters: Any) -> list[int]:
        return [entry.number for entry in await audit.page(session, made.id, **filters)]

    async def scenario(db: Database) -> None:
        made, other = await chain(db, 5), await organisation_of(db, "other.example", "owner")
        await write(db, other, 1)
        async with db.read() as session:
            assert await numbers(session, made) == [5, 4, 3, 2, 1]
            assert await numbers(session, made, limit=2) == [5, 4]
            assert await numbers(session, made, limit=2, before=4) == [3, 2]
            for action in ("test", "test.write"):
                assert len(await numbers(session, made, action=action)) == 5
            for action in ("tes", "test.w", "test.write.x", "%"):
                assert await numbers(session, made, action=action) == []
            assert len(await numbers(session, made, actor=made.users["owner"])) == 5
            assert len(await numbers(session, made, actor="OWNER of ")) == 5
            assert await numbers(session, made, actor="owner_of") == []
            assert await numbers(session, made, actor=other.users["owner"]) == []

    place.run(scenario)
