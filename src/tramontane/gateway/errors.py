"""Errors of the gateway."""

from __future__ import annotations

from tramontane.errors import TramontaneError


class OfferingFailedError(TramontaneError):
    """An offering gave no answer, through no fault of the request: another one may. For the log, not for clients."""
