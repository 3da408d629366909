"""What the operator has set for the whole installation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.accounts.tables import Setting


@dataclass(frozen=True)
class Settings:
    """With what holds as long as nothing was set."""

    self_registration: bool = False  # whether anybody may register
    free_monthly_nano_euros: int = 0  # what each who registered may spend in a month


async def read_settings(session: AsyncSession) -> Settings:
    """As they are now."""
    known = asdict(Settings())
    rows = (await session.scalars(select(Setting).where(Setting.name.in_(known)))).all()
    return Settings(**{**known, **{row.name: row.value for row in rows}})


async def change_settings(session: AsyncSession, changes: dict[str, Any]) -> Settings:
    """Sets what is named, and gives all."""
    for name, value in changes.items():
        await session.merge(Setting(name=name, value=value))
    await session.flush()
    return await read_settings(session)
