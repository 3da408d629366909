"""What the hub says of a repository at one commit: its licence, its files, their sizes and digests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import HfApi, constants

from tramontane.catalogue.known import known_licence
from tramontane.catalogue.record import HubFile
from tramontane.errors import TramontaneError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Release:
    """A repository at one commit."""

    commit: str
    licence: str | None
    files: tuple[HubFile, ...]


def look_up(repository: str, revision: str, endpoint: str) -> Release:
    """Ask the hub which commit a revision is and which files that has."""
    api = HfApi(endpoint=endpoint, library_name="tramontane")
    try:
        info = api.model_info(
            repository, revision=revision, files_metadata=True, timeout=constants.DEFAULT_REQUEST_TIMEOUT
        )
        licence = _licence(info.card_data) or known_licence(repository)
        files = tuple(_hub_file(sibling) for sibling in info.siblings or ())
        if not _COMMIT.fullmatch(str(info.sha)):
            raise ValueError("no commit")
        return Release(str(info.sha), licence, files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, HTTPError):
            raise
        raise TramontaneError(
            f"{endpoint} does not describe {repository} as a hub does ({error}); check HF_ENDPOINT."
        ) from error


def _hub_file(sibling: Any) -> HubFile:
    digest = f"sha256:{sibling.lfs.sha256}" if sibling.lfs else f"git:{sibling.blob_id}"
    size = sibling.lfs.size if sibling.lfs else sibling.size
    if type(size) is not int or size < 0 or not _DIGEST.fullmatch(digest):
        raise ValueError(f"no size or digest of {str(sibling.rfilename)[:80]!r}")
    return HubFile(str(sibling.rfilename), size, digest)


def _licence(card: Any) -> str | None:
    """The licence that a model card names; custom ones are called "other" and have their name beside."""
    named = card.get("license") if card else None
    if named == "other":
        named = card.get("license_name") or named
    return str(named) if named else None
