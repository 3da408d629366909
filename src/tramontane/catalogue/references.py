"""What a user writes to name a model → where it is and what it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from tramontane.catalogue.bundled import BUNDLED_FOLDER, BUNDLED_MODEL
from tramontane.catalogue.known import known_names
from tramontane.catalogue.repositories import is_repository
from tramontane.catalogue.store import ModelStore
from tramontane.errors import TramontaneError
from tramontane.model.family import shape

_RANDOM = "random:"
_GIVEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model that a user named. `name` is what it is served as; `text` is what the user wrote.

    `kind` is "folder" (with `folder`), "hub" (with `repository`, and the `folder` where `tramontane pull` puts it) or
    "random" (with `shape`, a short name of the family: random weights, to try the API without any).
    """

    kind: Literal["folder", "hub", "random"]
    name: str
    text: str
    folder: Path | None = None
    repository: str | None = None
    shape: str | None = None

    def require_folder(self) -> Path:
        """The folder of the checkpoint; TramontaneError when it is not there. Nothing is ever downloaded by itself."""
        if self.folder is None:
            raise TramontaneError(f"{self.text} has random weights and no folder; name a model that has both.")
        if self.folder.is_dir():
            return self.folder
        if self.kind == "hub":
            raise TramontaneError(f"{self.name} is not on this machine; run `tramontane pull {self.text}` first.")
        raise TramontaneError(
            f"No model folder {str(self.folder)!r}: name a folder that holds a checkpoint and its tokenizer."
        )


def parse_reference(text: str, home: Path) -> Reference:
    """`folder`, `name=folder`, a short name or alias, `owner/name` of the hub, `random:SHAPE`, or the bundled model's.

    A folder wins over a repository or short name of the same spelling if it holds a checkpoint. Whether a folder or a
    pulled model is really there, `require_folder` says. Raises TramontaneError with the nearest names for an unknown
    word, and for a malformed given name; CheckpointError for an unknown shape.
    """
    folder = Path(text).expanduser()
    if not text.startswith(_RANDOM):
        if _holds_checkpoint(folder):
            return _folder(text, folder)
        if "=" in text and not folder.is_dir():
            return _named_folder(text)
    found = _published(text, home)
    if found is not None:
        return found
    if (text and folder.is_dir()) or text.startswith(("/", ".", "~")):
        return _folder(text, folder)
    raise _unknown(text, "write a folder, owner/name, or a short name of the family.")


def parse_published(text: str, home: Path) -> Reference:
    """As `parse_reference`, but never a folder: for whoever may not look around on this machine's disk."""
    found = _published(text, home)
    if found is None:
        raise _unknown(text, "write owner/name of the hub, or a short name of the family.")
    return found


def is_model_name(text: str) -> bool:
    """Whether a model can be served, and asked for, by this name."""
    return _GIVEN_NAME.fullmatch(text) is not None


def named(reference: Reference, name: str) -> Reference:
    """The same model to be served under another name; raises TramontaneError for one that is malformed."""
    if not is_model_name(name):
        raise TramontaneError(f"{name!r} cannot be the name of a model: use letters, digits and . _ : / - alone.")
    return replace(reference, name=name)


def _published(text: str, home: Path) -> Reference | None:
    if text.startswith(_RANDOM):
        name = text.removeprefix(_RANDOM)
        shape(name)
        return Reference("random", name, text, shape=name)
    if text.lower() == BUNDLED_MODEL:
        return Reference("folder", BUNDLED_MODEL, text, folder=BUNDLED_FOLDER)
    known = known_names().get(text.lower())
    repository = known.repository if known else text
    if not is_repository(repository):
        return None
    return Reference("hub", text, text, folder=ModelStore(home).folder(repository), repository=repository)


def _unknown(text: str, advice: str) -> TramontaneError:
    near = get_close_matches(text.lower(), [BUNDLED_MODEL, *known_names()], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else advice
    return TramontaneError(f"No model is called {text!r}: {hint}")


def _folder(text: str, folder: Path) -> Reference:
    # The parent's name says nothing about `.` and `models/..`: resolved, every folder has a name but the root.
    return Reference("folder", folder.resolve().name or "model", text, folder=folder)


def _named_folder(text: str) -> Reference:
    name, _, path = text.partition("=")
    if not is_model_name(name):
        raise TramontaneError(
            f"{name!r} cannot be the name of a model: use letters, digits and . _ : / - in name=folder."
        )
    if not path:
        raise TramontaneError(f"{text!r} names no folder; write name=folder.")
    return Reference("folder", name, text, folder=Path(path).expanduser())


def _holds_checkpoint(folder: Path) -> bool:
    return any((folder / file).is_file() for file in ("params.json", "config.json"))
