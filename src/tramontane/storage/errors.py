"""What goes wrong between us and the disk or the database server."""

from __future__ import annotations

from tramontane.errors import TramontaneError


class StorageError(TramontaneError):
    """The data folder or the database cannot be used; the message never holds a password."""
