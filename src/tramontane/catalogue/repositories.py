"""Names of hub repositories, and the folder names made from them. A name that could lead elsewhere makes none."""

from __future__ import annotations

import re

from tramontane.errors import TramontaneError

# The hub's own rules, but stricter at the ends, so that `--` between the two halves can be undone: no half begins or
# ends with `-` or `.`, and none holds `--` or `..`.
_HALF = r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*"
_REPOSITORY = re.compile(rf"(?![^/]{{97}})({_HALF})/(?!.{{97}})({_HALF})")
_FOLDER = re.compile(rf"({_HALF})--({_HALF})")


def is_repository(text: str) -> bool:
    """Whether the text is spelled as a repository of the hub, `owner/name`."""
    return _REPOSITORY.fullmatch(text) is not None


def folder_name(repository: str) -> str:
    """`owner/name` → `owner--name`; TramontaneError for what is not so spelled."""
    match = _REPOSITORY.fullmatch(repository)
    if match is None:
        raise TramontaneError(f"{repository!r} is not the name of a model; write it as owner/name.")
    return f"{match[1]}--{match[2]}"


def repository_of(folder: str) -> str | None:
    """`owner--name` → `owner/name`; None for a folder that `folder_name` did not name."""
    match = _FOLDER.fullmatch(folder)
    return f"{match[1]}/{match[2]}" if match else None
