"""Who is asking, found fast enough for every request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Literal

from sqlalchemy import Row, Select, and_, or_, select, update

from tramontane.accounts.errors import AccountError
from tramontane.accounts.installation import installation_salt
from tramontane.accounts.principal import Principal
from tramontane.accounts.secrets import digest
from tramontane.accounts.tables import ApiKey, BrowserSession, Membership, Organisation, Role, Workspace
from tramontane.storage.base import now
from tramontane.storage.database import Database

_FRESH = 10.0  # seconds that an answer is remembered, so at most this long does another process's revocation take
_MOST = 10_000  # answers remembered
_USE_NOTED = timedelta(minutes=1)  # `last_used_at` is as exact as this

Kind = Literal["key", "session"]
_TABLES: dict[Kind, type[ApiKey] | type[BrowserSession]] = {"key": ApiKey, "session": BrowserSession}


@dataclass
class _Known:
    principal: Principal
    expires_at: datetime | None
    last_used_at: datetime | None
    fresh_until: float


class Authenticator:
    """Tells who a key or a browser session belongs to.

    Only good credentials are remembered. A bad one costs a look into an index each time, so a guesser fills no memory
    and drives nobody out of it. A credential ends with its user's membership, and rests while its workspace is
    archived. Nothing is stored on the way to an answer: the uses are written by `flush`, which the server calls now
    and then.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._salt: bytes | None = None
        self._known: dict[tuple[Kind, str], _Known] = {}  # in the order of their freshness
        self._used: dict[tuple[Kind, str], datetime] = {}  # by the credential's id: uses to be written
        self._forgotten = 0

    async def by_key(self, key: str) -> Principal | None:
        """Whose API key this is; None where it is unknown, expired or revoked."""
        return await self._find("key", key)

    async def by_session(self, token: str) -> Principal | None:
        """Whose browser session this is; None where it is unknown, expired or revoked."""
        return await self._find("session", token)

    def forget(self, changed_id: str) -> None:
        """Called after a change has committed: from now on this process knows the credentials as they are then.

        The id is a credential's, or for all of theirs a user's, a workspace's or an organisation's.
        """
        self._forgotten += 1  # an answer that is under way now may be from before
        for place in [place for place, known in self._known.items() if changed_id in _ids(known.principal)]:
            del self._known[place]

    async def flush(self) -> None:
        """Writes when credentials were last used, at most once a minute for each."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._write(used)
        except BaseException:
            self._used = used | self._used  # for the next time
            raise

    async def close(self) -> None:
        """Writes what is unwritten."""
        await self.flush()

    async def _find(self, kind: Kind, secret: str) -> Principal | None:
        if self._salt is None and not await self._read_salt():
            return None  # no accounts yet, so nobody can be known
        assert self._salt is not None
        place = (kind, digest(self._salt, secret))
        known = self._known.get(place)
        if known is None or known.fresh_until <= monotonic():
            known = await self._look_up(*place)
        if known is None or (known.expires_at is not None and known.expires_at <= now()):
            return None
        self._note_use(kind, known)
        return known.principal

    async def _read_salt(self) -> bool:
        try:
            async with self._db.read() as session:
                self._salt = await installation_salt(session)
        except AccountError:
            return False
        return True

    async def _look_up(self, kind: Kind, hashed: str) -> _Known | None:
        forgotten = self._forgotten
        asked = monotonic()  # the answer is as old as the question
        async with self._db.read() as session:
            row = (await session.execute(_query(kind, hashed))).first()
        self._known.pop((kind, hashed), None)
        if row is None:
            return None
        known = _Known(_principal(kind, row), row[0].expires_at, row[0].last_used_at, asked + _FRESH)
        if forgotten == self._forgotten:
            self._known[kind, hashed] = known
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
        return known

    def _note_use(self, kind: Kind, known: _Known) -> None:
        moment = now()
        if known.last_used_at is None or moment - known.last_used_at >= _USE_NOTED:
            known.last_used_at = self._used[kind, known.principal.credential_id] = moment

    async def _write(self, used: dict[tuple[Kind, str], datetime]) -> None:
        async with self._db.write() as session:
            for (kind, credential_id), moment in sorted(used.items()):  # in one order: two processes never deadlock
                table = _TABLES[kind]
                # Another process may have written within the minute.
                due = or_(table.last_used_at.is_(None), table.last_used_at <= moment - _USE_NOTED)
                await session.execute(
                    update(table).where(table.id == credential_id, due).values(last_used_at=moment),
                    execution_options={"synchronize_session": False},
                )


def _ids(principal: Principal) -> tuple[str, ...]:
    return principal.credential_id, principal.user_id, principal.workspace_id, principal.organisation_id


def _query(kind: Kind, hashed: str) -> Select[Any, Workspace, Role, bool]:
    """Any: an ApiKey or a BrowserSession, for which SQLAlchemy's types know no word."""
    table = _TABLES[kind]
    belongs = and_(Membership.user_id == table.user_id, Membership.organisation_id == Workspace.organisation_id)
    return (
        select(table, Workspace, Membership.role, Organisation.is_operator)
        .join(Workspace, Workspace.id == table.workspace_id)
        .join(Organisation, Organisation.id == Workspace.organisation_id)
        .join(Membership, belongs)
        .where(table.digest == hashed, table.revoked_at.is_(None), Workspace.archived_at.is_(None))
    )


def _principal(kind: Kind, row: Row[Any, Workspace, Role, bool]) -> Principal:
    credential, workspace, role, is_operator = row
    key = credential if isinstance(credential, ApiKey) else None
    return Principal(
        organisation_id=workspace.organisation_id,
        workspace_id=workspace.id,
        user_id=credential.user_id,
        role=role,
        cache_salt=workspace.cache_salt,
        credential=kind,
        credential_id=credential.id,
        credential_name=key.name if key else "browser",
        is_operator=is_operator,
        scopes=None if key is None or key.scopes is None else frozenset(key.scopes),
        models=None if key is None or key.models is None else frozenset(key.models),
        policy=workspace.policy,
    )
