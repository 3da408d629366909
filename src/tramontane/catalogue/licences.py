"""Licences that somebody has to read and accept before a model's files come here: who did, and when."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.catalogue.family import FamilyModel, Licence, find
from tramontane.catalogue.tables import LicenceAcceptance
from tramontane.errors import NotAllowedError


async def acceptance_of(session: AsyncSession, model: FamilyModel) -> LicenceAcceptance | None:
    """The first acceptance of a model's licence as it is now; None where nobody has accepted it."""
    query = (
        select(LicenceAcceptance)
        .where(LicenceAcceptance.model == model.name, LicenceAcceptance.licence == model.licence.name)
        .order_by(LicenceAcceptance.id)
        .limit(1)
    )
    return await session.scalar(query)


async def accept(session: AsyncSession, model: FamilyModel, user_id: str) -> bool:
    """Records that a user accepts a model's licence; False where that is not needed, or was done before."""
    if not model.licence.needs_acceptance or await acceptance_of(session, model) is not None:
        return False
    session.add(LicenceAcceptance(licence=model.licence.name, model=model.name, user_id=user_id))
    await session.flush()
    return True


async def require_accepted(session: AsyncSession, name: str) -> None:
    """`name`: of a model, or of its repository. Raises NotAllowedError where its licence was not accepted."""
    model = find(name)
    if model is None or not model.licence.needs_acceptance:
        return
    if await acceptance_of(session, model) is None:
        raise NotAllowedError(f"{describe(model.licence, model.title)} Accept it first.", "licence_not_accepted")


def describe(licence: Licence, title: str) -> str:
    """What a user is told of a licence before accepting it, in one sentence."""
    use = "with conditions" if licence.allows_production else "for research and tests only, not for production"
    return f"{title} is under the licence {licence.name} ({use}): read it at {licence.url}."
