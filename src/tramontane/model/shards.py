"""The safetensors files of one checkpoint: which they are, and what their headers say. Nothing is ever unpickled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from tramontane.errors import CheckpointError
from tramontane.model.fields import read_json_object
from tramontane.model.layouts import Layout, Shape

_STEM: dict[Layout, str] = {"native": "consolidated", "hf": "model"}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_NUMBERED = re.compile(r".+-(\d{1,6})-of-(\d{1,6})\.safetensors")
# What safetensors calls a dtype, and how many bytes an element takes.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One entry of a header: the file that holds the tensor, its shape and safetensors' name of its dtype."""

    file: str
    shape: Shape
    dtype: str

    @property
    def num_bytes(self) -> int:
        """Bytes in the file; one an element for the 8-bit types."""
        return torch.Size(self.shape).numel() * _BYTES.get(self.dtype, 1)


class Shards:
    """The open files of a checkpoint. Files are mapped, not loaded: a tensor is read when it is asked for.

    Tensors read in full are views of the mapping, so they cost no anonymous memory until something copies them.
    """

    def __init__(self, folder: Path, files: dict[str, Any], tensors: dict[str, StoredTensor]) -> None:
        self.folder = folder
        self.tensors = tensors
        self._files = files

    @classmethod
    def open(cls, folder: Path, layout: Layout) -> Shards:
        """Map the weight files of one layout and read their headers.

        Raises CheckpointError for a missing, truncated or malformed file, and for a tensor found twice.
        """
        names, placed = weight_files(folder, layout)
        files: dict[str, Any] = {}
        tensors: dict[str, StoredTensor] = {}
        for file in names:
            files[file], header = _read_header(folder / file)
            for name, tensor in header.items():
                if placed.get(name, file) != file:
                    continue  # the index says that another file holds it
                if name in tensors:
                    raise CheckpointError(
                        f"{folder / file}: tensor {name} is also in {tensors[name].file}; "
                        "remove the file that does not belong to this checkpoint."
                    )
                tensors[name] = tensor
        return cls(folder, files, tensors)

    def read(self, name: str, expert: int | None = None, rows: tuple[int, int] | None = None) -> torch.Tensor:
        """A stored tensor, or its slice [expert, rows]."""
        file = self._files[self.tensors[name].file]
        if expert is None and rows is None:
            tensor: torch.Tensor = file.get_tensor(name)
            return tensor
        index = slice(None) if rows is None else slice(*rows)
        part: torch.Tensor = file.get_slice(name)[index if expert is None else (expert, index)]
        return part


def has_weights(folder: Path, layout: Layout) -> bool:
    """Whether the folder holds weight files of this layout, or an index that speaks of some."""
    stem = _STEM[layout]
    return any(folder.glob(f"{stem}*.safetensors")) or (folder / f"{stem}.safetensors.index.json").is_file()


def pickle_files(folder: Path) -> list[str]:
    """Weight files that only unpickling could read, by name."""
    return sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))


def weight_files(folder: Path, layout: Layout) -> tuple[list[str], dict[str, str]]:
    """The files of one layout, and the index's map from tensor to file (empty without an index).

    One whole file wins over an index, as in transformers. Raises CheckpointError when a file is missing.
    """
    stem = _STEM[layout]
    whole, index = f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if (folder / whole).is_file():
        return [whole], {}
    if index.is_file():
        placed = _read_index(index)
        names = sorted(set(placed.values()))
    else:
        placed = {}
        names = _all_numbered(sorted(path.name for path in folder.glob(f"{stem}*.safetensors")))
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing: the checkpoint has {len(names)} files; download it.")
    return names, placed


def _all_numbered(found: list[str]) -> list[str]:
    """The complete series when files are called `…-00001-of-00003.safetensors`, else what was found."""
    matches = [match for name in found if (match := _NUMBERED.fullmatch(name))]
    if len(matches) != len(found) or not found:
        return found
    stem, total = found[0].rsplit("-", 3)[0], int(matches[0][2])
    if total > 10_000:
        raise CheckpointError(f"{found[0]}: its name speaks of {total} files, which no checkpoint has.")
    width = len(matches[0][1])
    return [f"{stem}-{number:0{width}d}-of-{matches[0][2]}.safetensors" for number in range(1, total + 1)]


def _read_index(path: Path) -> dict[str, str]:
    """`weight_map` of an index; every file in it is a plain name, so that it cannot lead out of the folder."""
    placed = read_json_object(path).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise CheckpointError(f"{path}: weight_map is missing or empty; download the file again.")
    for name, file in placed.items():
        plain = isinstance(file, str) and not re.search(r"[/\\\0]", file) and file.endswith(".safetensors")
        if not plain or file.startswith("."):
            raise CheckpointError(
                f"{path}: weight_map puts {name} in {str(file)[:60]!r}; it must be a .safetensors file in this folder."
            )
    return placed


def _read_header(path: Path) -> tuple[Any, dict[str, StoredTensor]]:
    try:
        # The library checks that the header is well-formed and that the file has exactly the length it speaks of.
        file: Any = safe_open(path, framework="pt", device="cpu")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        header = {
            name: StoredTensor(path.name, tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()
        }
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({str(error).splitlines()[0]}); download it again."
        ) from error
    return file, header
