"""Errors of calls to other servers."""

from __future__ import annotations

from tramontane.errors import TramontaneError


class OutboundError(TramontaneError):
    """Another server cannot be called, or did not answer. The message names its host, and never a path or a key."""


class RefusedAddressError(OutboundError):
    """The address is one that must not be called from here."""
