"""Settings of conversations under names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.conversations.errors import NotFoundError
from tramontane.conversations.owner import Owner
from tramontane.conversations.tables import Preset
from tramontane.errors import InvalidRequestError

_MOST = 200  # of a user; they are listed in one piece


async def list_presets(session: AsyncSession, owner: Owner) -> Sequence[Preset]:
    """The user's presets, by name."""
    query = select(Preset).where(owner.owns(Preset)).order_by(func.lower(Preset.name), Preset.id)
    return (await session.scalars(query)).all()


async def create_preset(session: AsyncSession, owner: Owner, fields: Mapping[str, Any]) -> Preset:
    """A new preset; raises InvalidRequestError where there are too many."""
    if (await session.scalar(select(func.count(Preset.id)).where(owner.owns(Preset))) or 0) >= _MOST:
        raise InvalidRequestError("name", f"There are {_MOST} presets already: delete one first.")
    made = Preset(workspace_id=owner.workspace_id, user_id=owner.user_id, **fields)
    session.add(made)
    await session.flush()
    return made


async def change_preset(session: AsyncSession, owner: Owner, preset_id: str, changes: Mapping[str, Any]) -> Preset:
    """Sets fields; raises NotFoundError."""
    found = await session.scalar(select(Preset).where(Preset.id == preset_id, owner.owns(Preset)))
    if found is None:
        raise NotFoundError("There is no such preset.")
    for name, value in changes.items():
        setattr(found, name, value)
    return found


async def delete_preset(session: AsyncSession, owner: Owner, preset_id: str) -> None:
    """Raises NotFoundError."""
    gone = delete(Preset).where(Preset.id == preset_id, owner.owns(Preset)).returning(Preset.id)
    if await session.scalar(gone) is None:
        raise NotFoundError("There is no such preset.")
