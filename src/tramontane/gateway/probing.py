"""Questions to servers whose offerings are left alone: whether they answer again."""

from __future__ import annotations

import asyncio
import logging

from tramontane.catalogue.directory import Directory, Offering
from tramontane.gateway.errors import OfferingFailedError
from tramontane.gateway.health import Health
from tramontane.gateway.providers.openai_compatible.provider import OpenAICompatible
from tramontane.storage.base import now

logger = logging.getLogger(__name__)

_EVERY = 5.0  # seconds


class Prober:
    """Asks the servers of open breakers for their models. A server that serves well is asked by requests alone."""

    def __init__(self, directory: Directory, health: Health, remote: OpenAICompatible) -> None:
        self._directory, self._health, self._remote = directory, health, remote

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self.probe()
            except Exception:
                logger.exception("a failing provider could not be asked; it is asked again soon")

    async def probe(self) -> None:
        """Asks each once. Who has an answer is tried by the next request, whatever is left of the pause."""
        due = [offering for offering in self._directory.all() if self._is_due(offering)]
        for provider in {offering.provider for offering in due}:
            try:
                await self._remote.list_models(provider)
            except OfferingFailedError:
                continue
            for offering in due:
                if offering.provider == provider:
                    self._health.note_alive(offering.id)

    def _is_due(self, offering: Offering) -> bool:
        is_served = offering.enabled and offering.provider.enabled and offering.price_at(now()) is not None
        return is_served and offering.provider.kind != "local" and self._health.is_open(offering.id)
