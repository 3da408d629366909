"""The folder where everything of one installation lives."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

from tramontane.storage.errors import StorageError


def home_folder() -> Path:
    """TRAMONTANE_HOME, or else the user's data folder; made, for its owner's eyes only, where it is missing.

    Raises StorageError where it cannot be made.
    """
    chosen = os.environ.get("TRAMONTANE_HOME")
    home = Path(chosen).expanduser().absolute() if chosen else user_data_path("tramontane")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The data folder {home} cannot be made ({error.strerror}): set TRAMONTANE_HOME to a folder that you own."
        ) from error
    return home
