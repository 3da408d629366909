"""People of several organisations at a live server, with browsers and keys."""

from __future__ import annotations

import asyncio
import http.cookies
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from sqlalchemy import select

from tests.accounts.making import Made, key_of, organisation_of
from tests.api.live import LiveServer
from tests.api.talking import Reply, ask
from tramontane.accounts.members import add_member
from tramontane.accounts.sessions import open_session
from tramontane.accounts.tables import Organisation, Role, Workspace
from tramontane.accounts.users import create_user
from tramontane.storage.database import Database

T = TypeVar("T")
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Person:
    """A user with a browser that is signed in, and a key that may do all that the user may."""

    server: LiveServer
    user_id: str
    organisation_id: str
    workspace_id: str
    session_id: str
    cookie: str
    key: str

    def browse(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> Reply:
        """As the web app asks."""
        return browse(self.server, path, body, method=method, cookie=self.cookie, **headers)

    def ask(self, path: str, body: Any = None, *, method: str | None = None) -> Reply:
        """As a program asks."""
        return ask(self.server, path, body, method=method, key=self.key)


def browse(
    server: LiveServer, path: str, body: Any = None, *, method: str | None = None, cookie: str = "", **headers: str
) -> Reply:
    """As a page of this server asks; without a cookie it is nobody's yet."""
    sent = {"sec-fetch-site": "same-origin", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if cookie:
        sent["cookie"] = f"tramontane_session_{server.port}={cookie}"
    return ask(server, path, body, method=method, key=None, headers=sent)


def in_database(server: LiveServer, work: Callable[[Database], Awaitable[T]]) -> T:
    """The answer of `work` on the server's own database."""

    async def main() -> T:
        db = Database.open(None, server.home)
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(main())


def people_of(server: LiveServer, name: str, *roles: Role) -> dict[str, Person]:
    """A customer's new organisation with one of each role."""

    async def make(db: Database) -> dict[str, Person]:
        made = await organisation_of(db, name, *roles)
        return {role: await _person(server, db, made, role) for role in roles}

    return in_database(server, make)


def operators_of(server: LiveServer, name: str, *roles: Role) -> dict[str, Person]:
    """New people of the organisation that runs the server."""

    async def make(db: Database) -> dict[str, Person]:
        users: dict[str, str] = {}
        async with db.write() as session:
            workspace = (
                await session.scalars(
                    select(Workspace)
                    .join(Organisation, Organisation.id == Workspace.organisation_id)
                    .where(Organisation.is_operator, Workspace.archived_at.is_(None))
                    .order_by(Workspace.id)
                )
            ).first()
            assert workspace is not None
            for role in roles:
                user = await create_user(session, f"{role} of {name}", f"{role}@{name}")
                await add_member(session, workspace.organisation_id, user.id, role)
                users[role] = user.id
        made = Made(workspace.organisation_id, workspace.id, users)
        return {role: await _person(server, db, made, role) for role in roles}

    return in_database(server, make)


async def _person(server: LiveServer, db: Database, made: Made, role: Role) -> Person:
    key = await key_of(db, made, role)
    async with db.write() as session:
        opened = await open_session(session, made.users[role], by="test", address="")
    assert opened is not None
    return Person(server, opened.user_id, made.id, made.workspace_id, opened.session_id, opened.token.reveal(), key)


def filled(body: Any, ids: dict[str, str]) -> Any:
    """With what stands in braces filled in."""
    match body:
        case str():
            return body.format_map(ids)
        case dict():
            return {name: filled(value, ids) for name, value in body.items()}
        case list():
            return [filled(value, ids) for value in body]
    return body


def names_in(path: str) -> Iterator[str]:
    """The parameters of a route's path."""
    return (part[1:-1].partition(":")[0] for part in path.split("/") if part.startswith("{"))


def cookie_of(reply: Reply) -> str:
    """The session that a reply has opened; its cookie is for our own pages alone."""
    assert reply.status in (204, 302), reply.text
    (cookie,) = [
        each
        for header in reply.headers.get_all("set-cookie")  # type: ignore[attr-defined]
        for name, each in http.cookies.SimpleCookie(header).items()
        if not name.endswith("_oidc")
    ]
    assert cookie["httponly"] is True
    assert (cookie["samesite"].lower(), cookie["path"]) == ("lax", "/")
    return cookie.value


def me(server: LiveServer, cookie: str) -> dict[str, Any]:
    """Who is signed in with a cookie."""
    reply = browse(server, "/v1/me", cookie=cookie)
    assert reply.status == 200, reply.text
    return reply.json  # type: ignore[no-any-return]


def invite(person: Person, **body: Any) -> str:
    """The path of a new invitation."""
    reply = person.browse("/v1/invitations", body)
    assert reply.status == 200, reply.text
    link: str = reply.json["link"]
    assert link.startswith(f"{person.server.url}/join/")
    return "/v1" + link.removeprefix(person.server.url)
