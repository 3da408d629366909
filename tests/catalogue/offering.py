"""Providers and offerings to test with."""

from __future__ import annotations

from tramontane.catalogue.tables import OfferingRow, ProviderRow
from tramontane.storage.database import Database


async def add_offering(
    db: Database, model: str = "m", provider: str = "P", region: str | None = "FR", enabled: bool = True
) -> str:
    """An offering without a price; its id."""
    async with db.write() as session:
        row = ProviderRow(
            name=provider, kind="openai_compatible", base_url="http://127.0.0.1:1/v1", operator="Winds", region=region
        )
        session.add(row)
        await session.flush()
        offering = OfferingRow(model=model, provider_id=row.id, upstream_model=model, enabled=enabled)
        session.add(offering)
        await session.flush()
        return offering.id
