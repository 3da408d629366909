"""The audit log: who did what, when, from where; append-only by a chain of digests.

Each organisation has a chain of its own. An entry's `hash` is the SHA-256 of its canonical form: one line of ASCII
JSON with the keys in order, no blanks, and the hash of the entry before it under `previous`. So the line of one entry
is checked by the line after it, and `export` gives exactly these lines. The organisation's row holds the chain's length
and last hash: entries that were cut off its end are missed too. Who can write to the database can also make a whole
new chain; against that helps an export that is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.organisations import lock_organisation
from tramontane.accounts.principal import Principal
from tramontane.accounts.tables import AUDIT_START, AuditEntry, Organisation, User
from tramontane.errors import InvalidRequestError
from tramontane.storage.base import now

_MOST_DETAIL = 64 * 1024  # bytes
_BATCH = 200  # entries that are read at once; between them others' requests go on
_HASHED = (
    "organisation_id", "number", "at", "actor_id", "actor_name", "credential", "address", "action", "target_kind",
    "target_id", "detail", "previous",
)  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """Who does something, in whose log it stands, and by what it was proved."""

    organisation_id: str
    user_id: str
    credential: str = "browser"


@dataclass(frozen=True)
class Verification:
    """Whether a chain is whole; `first_broken` is the number of the first entry that is changed or missing."""

    entries: int
    first_broken: int | None


async def record(
    session: AsyncSession,
    principal: Principal,
    address: str,
    action: str,
    target_kind: str,
    target_id: str,
    detail: dict[str, Any],
) -> None:
    """Adds an entry to the log of the principal's organisation; it is kept with whatever the transaction changes."""
    credential = "browser"
    if principal.credential == "key":
        credential = f"key {principal.credential_id}: {principal.credential_name}"
    actor = Actor(principal.organisation_id, principal.user_id, credential)
    await append(session, actor, address, action, target_kind, target_id, detail)


async def append(
    session: AsyncSession,
    actor: Actor,
    address: str,
    action: str,
    target_kind: str,
    target_id: str,
    detail: dict[str, Any],
) -> None:
    """Adds an entry for who has no principal yet: who signs in or joins. Raises InvalidRequestError for the detail.

    Writers to one organisation's log wait for each other from here to the end of their transactions.
    """
    detail = _as_stored(detail)
    organisation = await lock_organisation(session, actor.organisation_id)
    entry = AuditEntry(
        organisation_id=actor.organisation_id,
        number=organisation.audit_length + 1,
        at=now(),
        actor_id=actor.user_id,
        actor_name=await session.scalar(select(User.name).where(User.id == actor.user_id)) or "",
        credential=actor.credential,
        address=address[:64],
        action=action,
        target_kind=target_kind,
        target_id=target_id,
        detail=detail,
        previous=organisation.audit_head,
    )
    entry.hash = _hash(entry)
    session.add(entry)
    organisation.audit_length, organisation.audit_head = entry.number, entry.hash
    await session.flush()


async def page(
    session: AsyncSession,
    organisation_id: str,
    *,
    before: int | None = None,
    limit: int = 50,
    action: str | None = None,
    actor: str | None = None,
) -> Sequence[AuditEntry]:
    """The newest entries first.

    `action` is one action, or all of a kind: `key` for `key.create` and others. `actor` is a user's id, or a part of
    the name.
    """
    query = select(AuditEntry).where(AuditEntry.organisation_id == organisation_id)
    if before is not None:
        query = query.where(AuditEntry.number < before)
    if action:
        of_kind = AuditEntry.action.startswith(action + ".", autoescape=True)
        query = query.where(or_(AuditEntry.action == action, of_kind))
    if actor:
        query = query.where(or_(AuditEntry.actor_id == actor, AuditEntry.actor_name.icontains(actor, autoescape=True)))
    return (await session.scalars(query.order_by(AuditEntry.number.desc()).limit(limit))).all()


async def verify(session: AsyncSession, organisation_id: str) -> Verification:
    """Reads the whole chain; in one transaction, so that nothing is added meanwhile."""
    organisation = await _organisation(session, organisation_id)
    count, previous, last, batch = 0, AUDIT_START, None, _BATCH
    entries: Sequence[Row[Any]] | None = None
    while entries is None or len(entries) == batch:
        try:
            entries = await _read(session, organisation_id, last, batch)
        except (ValueError, TypeError):  # one of them is not even a row of ours any more
            if batch == 1:
                return Verification(organisation.audit_length, count + 1)
            entries, batch = None, 1
            continue
        for entry in entries:
            count += 1
            if entry.number != count or entry.previous != previous or entry.hash != _hash(entry):
                return Verification(organisation.audit_length, count)
            previous, last = entry.hash, entry.number
    if (count, previous) != (organisation.audit_length, organisation.audit_head):
        return Verification(organisation.audit_length, min(count, organisation.audit_length) + 1)
    return Verification(count, None)


async def export(session: AsyncSession, organisation_id: str) -> AsyncIterator[bytes]:
    """The entries as the lines that the hashes are of, the oldest first, some hundred at a time.

    Last comes a line with their number and the last hash, which no entry has under `previous` yet.
    """
    organisation = await _organisation(session, organisation_id)
    entries = await _read(session, organisation_id, None, _BATCH)
    while entries:
        yield b"".join(_canonical(entry) + b"\n" for entry in entries)
        entries = await _read(session, organisation_id, entries[-1].number, _BATCH)
    yield _line({"entries": organisation.audit_length, "hash": organisation.audit_head}) + b"\n"


async def _organisation(session: AsyncSession, organisation_id: str) -> Organisation:
    return (await session.scalars(select(Organisation).where(Organisation.id == organisation_id))).one()


async def _read(session: AsyncSession, organisation_id: str, last: int | None, limit: int) -> Sequence[Row[Any]]:
    """The entries after `last`, the oldest first, as rows: of a long log nothing stays in the session."""
    query = select(*AuditEntry.__table__.columns).where(AuditEntry.organisation_id == organisation_id)
    if last is not None:
        query = query.where(AuditEntry.number > last)
    return (await session.execute(query.order_by(AuditEntry.number).limit(limit))).all()


def _as_stored(detail: dict[str, Any]) -> dict[str, Any]:
    """As it will be read: with lists for tuples, and texts for all keys."""
    try:
        encoded = json.dumps(detail, allow_nan=False)
    except (TypeError, ValueError):
        raise InvalidRequestError("detail", "What is to be noted in the audit log is no JSON.") from None
    if len(encoded) > _MOST_DETAIL:
        raise InvalidRequestError(
            "detail", f"The audit log would need {len(encoded):,} bytes for this; send less than {_MOST_DETAIL:,}."
        )
    stored: dict[str, Any] = json.loads(encoded)
    return stored


def _hash(entry: AuditEntry | Row[Any]) -> str:
    return hashlib.sha256(_canonical(entry)).hexdigest()


def _canonical(entry: AuditEntry | Row[Any]) -> bytes:
    fields = {name: getattr(entry, name) for name in _HASHED}
    return _line({**fields, "at": entry.at.isoformat(timespec="microseconds")})


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
