"""What is refused about accounts and their secrets."""

from __future__ import annotations

from tramontane.errors import TramontaneError


class AccountError(TramontaneError):
    """Accounts cannot be as was asked; the message never holds a secret."""
