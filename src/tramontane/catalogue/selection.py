"""Which files of a repository are pulled: one layout of safetensors, configuration, tokenizer, licence. Never code."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tramontane.catalogue.record import HubFile
from tramontane.errors import TokenizerError, TramontaneError
from tramontane.tokenizer.files import find_tokenizer_file

Layout = Literal["native", "hf"]

# In the order in which `Checkpoint.open` prefers them: layout, its configuration, how its weights begin.
_LAYOUTS: tuple[tuple[Layout, str, str], ...] = (
    ("native", "params.json", "consolidated"),
    ("hf", "config.json", "model"),
)
_CONFIGURATION = {"config.json", "params.json", "generation_config.json", "modules.json", "1_Pooling/config.json"}
# `tokenizer.json` is left out: Tramontane never reads it, and with tekken it is as large.
_TOKENIZER = re.compile(r"tekken[\w.-]*\.json|[\w.-]+\.model(\.v\d+(m\d+)?)?", re.ASCII)
_TEXTS = re.compile(r"(readme|licen[cs]e|notice|copying)([-_]\w+)?(\.md|\.txt)?", re.ASCII | re.IGNORECASE)
_NUMBERED = re.compile(r"(.+)-\d+-of-(\d{1,6})\.safetensors", re.ASCII)
_PICKLE = re.compile(r".+\.(bin|pt|pth|ckpt|pkl)")


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to pull, the weights last; `config` is the file that describes the weights of `layout`."""

    layout: Layout
    config: str
    files: tuple[HubFile, ...]
    notices: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def num_small(self) -> int:
        """How many of the files are not weights."""
        return sum(not file.path.endswith(".safetensors") for file in self.files)


def select_files(repository: str, files: Collection[HubFile]) -> Selection:
    """What to pull of a repository.

    Raises TramontaneError when a file's name leads out of the folder, when no complete safetensors weights are there,
    or no tokenizer that Tramontane reads.
    """
    names = {file.path for file in files}
    for name in sorted(names):
        _refuse_hostile(repository, name)
    found = {
        layout: weights for layout, config, stem in _LAYOUTS if config in names and (weights := _weights(stem, names))
    }
    if not found:
        _refuse_without_weights(repository, names)
    layout, config = next((layout, config) for layout, config, _ in _LAYOUTS if layout in found)
    tokenizers = {name for name in names if _TOKENIZER.fullmatch(name)}
    _require_tokenizer(repository, names, tokenizers)
    wanted = found[layout] | tokenizers | (names & _CONFIGURATION) | {name for name in names if _TEXTS.fullmatch(name)}
    notices = (
        ["Both layouts are there; the native one (consolidated*.safetensors) is pulled."] if len(found) == 2 else []
    )
    chosen = sorted((file for file in files if file.path in wanted), key=_weights_last)
    return Selection(layout, config, tuple(chosen), tuple(notices))


def _weights_last(file: HubFile) -> tuple[bool, int, str]:
    return file.path.endswith(".safetensors"), file.size, file.path


def _refuse_hostile(repository: str, name: str) -> None:
    """A path in a repository is relative and goes down; anything else was put there to write elsewhere."""
    parts = name.split("/")
    if re.search(r"[\\\x00-\x1f\x7f]", name) or any(part in ("", ".", "..") for part in parts):
        raise TramontaneError(
            f"{repository} has a file called {name[:80]!r}, which leads out of its folder; do not use it."
        )


def _weights(stem: str, names: Collection[str]) -> set[str]:
    """The weight files of one layout with their index; empty when some of a numbered series are missing."""
    whole, index = f"{stem}.safetensors", f"{stem}.safetensors.index.json"
    found = {name for name in names if re.fullmatch(rf"{stem}[\w.-]*\.safetensors", name, re.ASCII)}
    if whole in found:
        return {whole}
    series: dict[tuple[str, str], int] = {}
    for match in filter(None, map(_NUMBERED.fullmatch, found)):
        series[match[1], match[2]] = series.get((match[1], match[2]), 0) + 1
    if any(count != int(total) for (_, total), count in series.items()):
        return set()
    return found | ({index} & set(names)) if found else set()


def _refuse_without_weights(repository: str, names: Collection[str]) -> None:
    safetensors = any(name.endswith(".safetensors") for name in names)
    if not safetensors and any(_PICKLE.fullmatch(name) for name in names):
        raise TramontaneError(
            f"{repository} has only pickled weights, which can run code and are never loaded; "
            "choose a repository with safetensors."
        )
    raise TramontaneError(
        f"{repository} has no complete safetensors weights (consolidated*.safetensors with params.json, or "
        "model*.safetensors with config.json); choose the original repository of the model."
    )


def _require_tokenizer(repository: str, names: Collection[str], tokenizers: Collection[str]) -> None:
    """The tokenizer's own rules judge, on empty files of the same names."""
    with TemporaryDirectory() as empty:
        for name in {*tokenizers, *({"tokenizer.json"} & set(names))}:
            (Path(empty) / name).touch()
        try:
            find_tokenizer_file(Path(empty))
        except TokenizerError as error:
            raise TokenizerError(str(error).replace(empty, repository)) from error
