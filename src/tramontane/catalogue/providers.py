"""Providers and their offerings, as administrators make and change them. Rows are switched off, never deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.catalogue.references import is_model_name
from tramontane.catalogue.regions import known
from tramontane.catalogue.tables import OfferingRow, ProviderRow
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.outbound.addresses import CheckedResolver
from tramontane.outbound.client import check_url
from tramontane.outbound.errors import RefusedAddressError
from tramontane.storage.base import new_id

_LONGEST_URL = 500  # as it is kept: with its path escaped


async def checked_base_url(url: str) -> str:
    """The URL without a slash at its end; raises InvalidRequestError for what is none, or leads where it must not.

    By http it may lead to this machine and private networks only, so that no key is read on its way. What an address
    is when it is called, `outbound` looks at again.
    """
    try:
        parsed = check_url(url)
        if parsed.query_string or parsed.fragment:
            raise InvalidRequestError("base_url", "The URL must hold no ? and no #: end it with its path, such as /v1.")
        if len(str(parsed)) > _LONGEST_URL:
            raise InvalidRequestError("base_url", f"The URL has more than {_LONGEST_URL} characters.")
        assert parsed.host is not None
        await CheckedResolver("private" if parsed.scheme == "http" else "anywhere").resolve(parsed.host)
    except (InvalidRequestError, RefusedAddressError) as error:
        raise InvalidRequestError("base_url", str(error)) from None
    except OSError:
        pass  # a name that is not known yet: calls will say so
    return str(parsed).rstrip("/")


def check_region(region: str | None) -> None:
    """Raises InvalidRequestError for what is neither a country's code nor the Union."""
    if region is not None and not known(region):
        raise InvalidRequestError("region", f"{region!r} is no region: name a country's code in capitals (FR), or EU.")


async def list_providers(session: AsyncSession) -> Sequence[ProviderRow]:
    """All of them, by age."""
    return (await session.scalars(select(ProviderRow).order_by(ProviderRow.id))).all()


async def find_provider(session: AsyncSession, provider_id: str, *, lock: bool = False) -> ProviderRow:
    """`lock`: nobody else changes it until the transaction ends. Raises MissingError."""
    found = await session.get(ProviderRow, provider_id, with_for_update=lock)
    if found is None:
        raise MissingError("There is no such provider.")
    return found


async def create_provider(session: AsyncSession, fields: Mapping[str, Any]) -> ProviderRow:
    """A server that speaks OpenAI's API; its URL was checked. Raises ConflictError, InvalidRequestError."""
    check_region(fields.get("region"))
    await _check_provider_name(session, fields["name"])
    made = ProviderRow(id=new_id(), kind="openai_compatible", **fields)
    session.add(made)
    await session.flush()
    return made


async def change_provider(session: AsyncSession, row: ProviderRow, changes: Mapping[str, Any]) -> None:
    """Sets fields; raises ConflictError, InvalidRequestError."""
    check_region(changes.get("region"))
    if row.kind == "local" and "base_url" in changes:
        raise InvalidRequestError("base_url", "This machine is called by nobody: it has no URL and no key.")
    if changes.get("name", row.name) != row.name:
        await _check_provider_name(session, changes["name"])
    for name, value in changes.items():
        setattr(row, name, value)
    await session.flush()


async def _check_provider_name(session: AsyncSession, name: str) -> None:
    if await session.scalar(select(ProviderRow.id).where(ProviderRow.name == name)) is not None:
        raise ConflictError(f"A provider is called {name!r} already: choose another name.")


# ── offerings ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def find_offering(session: AsyncSession, offering_id: str) -> OfferingRow:
    """Raises MissingError."""
    found = await session.get(OfferingRow, offering_id)
    if found is None:
        raise MissingError("There is no such offering.")
    return found


async def create_offering(
    session: AsyncSession, provider_id: str, model: str, upstream_model: str | None, max_context: int | None
) -> OfferingRow:
    """A model at a provider. Raises InvalidRequestError, and ConflictError where the provider offers it already."""
    if not is_model_name(model):
        raise InvalidRequestError("model", f"{model!r} cannot be asked for: use letters, digits and . _ : / - alone.")
    locked = select(ProviderRow).where(ProviderRow.id == provider_id).with_for_update()
    if await session.scalar(locked) is None:
        raise InvalidRequestError("provider_id", "There is no such provider.")
    same = select(OfferingRow.id).where(OfferingRow.provider_id == provider_id, OfferingRow.model == model)
    if await session.scalar(same) is not None:
        raise ConflictError(f"This provider offers {model!r} already: change that offering, or switch it on again.")
    made = OfferingRow(
        model=model, provider_id=provider_id, upstream_model=upstream_model or model, max_context=max_context
    )
    session.add(made)
    await session.flush()
    return made
