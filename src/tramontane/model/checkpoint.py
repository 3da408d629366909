"""Opening a checkpoint: everything is checked from configuration and headers, before a single weight is read.

What quirks there are in how the family's weights are stored stay in this module and the ones that it imports
(`layouts`, `shards`, `stored_quantization`, `config_native`, `config_hf`). Writing is in `checkpoint_writer.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tramontane.errors import CheckpointError
from tramontane.model.config import ModelConfig
from tramontane.model.config_hf import from_hf_config
from tramontane.model.config_native import from_params_json
from tramontane.model.fields import read_json_object
from tramontane.model.layouts import (
    OUTPUT,
    Layout,
    Shape,
    Stored,
    canonical_shapes,
    hf_places,
    hf_prefix,
    interleaved_to_half,
    is_vision,
    native_places,
    rotary_heads,
)
from tramontane.model.pooling import Pooling, read_pooling
from tramontane.model.shards import Shards, StoredTensor, has_weights, pickle_files

__all__ = ["Checkpoint", "Layout", "Pooling", "canonical_shapes"]

_CONFIG_FILE: dict[Layout, str] = {"native": "params.json", "hf": "config.json"}
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn}
_FP8 = "F8_E4M3"
# The scale of an FP8 `….weight`: native, transformers' fp8, AutoFP8 and compressed-tensors.
_SCALES = ("qscale_weight", "weight_scale_inv", "weight_scale")
# Scales of activations and of KV caches, and rotary tables that old conversions kept: not needed, not an error.
_IGNORED = re.compile(r".*(qscale_act|activation_scale|input_scale|[kvq]_scale|kv_scale|rotary_emb\.inv_freq)")
# Rows dequantised at a time, so that the float32 in between stays small beside the result.
_CHUNK_ROWS = 1024


class Checkpoint:
    """A checkpoint on disk, verified and ready to be read tensor by tensor.

    Attributes: `folder`; `layout`, "native" or "hf"; `config`; `dtype`, the stored dtype that most of the weights
    have; `pooling`, how an embedding model pools, else None; `has_output_head`, False for a bare embedding model
    (`config.tied_embeddings` is then True, so that no head has to be made up); `notices`, sentences for the user
    about what was skipped or assumed.
    """

    def __init__(self, folder: Path, layout: Layout, config: ModelConfig, shards: Shards) -> None:
        self.folder = folder
        self.layout = layout
        self.config = config
        self.notices: list[str] = []
        self.has_output_head = True
        self.pooling = read_pooling(folder, config.dim)
        self._shards = shards
        self._prefix = ""
        self._shapes: dict[str, Shape] = {}
        self._places: dict[str, Stored] = {}
        self.dtype = torch.bfloat16

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Recognise the layout, read configuration and headers, and check every tensor that the model needs.

        Of two layouts in one folder the native one is taken, unless its weights are missing.

        Raises CheckpointError, in one sentence that names the file and the field or tensor, for whatever would not
        compute the model that was trained: an unknown architecture or quantisation, a missing file or tensor, a wrong
        shape, a tensor of the text model that the architecture has no place for, a checkpoint of pickles.
        """
        folder = Path(folder)
        layout = _find_layout(folder)
        config_path = folder / _CONFIG_FILE[layout]
        raw = read_json_object(config_path)
        config = from_params_json(raw, config_path) if layout == "native" else from_hf_config(raw, config_path)
        checkpoint = cls(folder, layout, config, Shards.open(folder, layout))
        checkpoint._find_text_model()
        checkpoint._settle_output_head(raw)
        checkpoint._place_tensors()
        checkpoint._check_leftovers()
        return checkpoint

    def names(self) -> list[str]:
        """The canonical names that `read` knows, in the order of use."""
        return list(self._places)

    def shape(self, name: str) -> Shape:
        """The shape of the canonical tensor `name`."""
        return self._shapes[name]

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """One canonical tensor, in `dtype` or as stored; FP8 weights come dequantised, to bfloat16 if `dtype` is None.

        Where nothing has to be changed the result is a view of the mapped file (copy on write: writing to it never
        reaches the file); otherwise it is a copy of that one tensor.
        """
        place = self._places.get(name)
        if place is None:
            raise CheckpointError(f"{self.folder}: the model has no tensor called {name!r}.")
        tensor = self._shards.read(place.name, place.expert, place.rows)
        if tensor.dtype == torch.float8_e4m3fn:
            scale = self._shards.read(self._scale_name(place.name))
            tensor = _dequantise(tensor, scale, dtype or torch.bfloat16)
        if place.transposed:
            tensor = tensor.t().contiguous()
        heads = rotary_heads(name, self.config)
        if heads and self.layout == "native":
            tensor = interleaved_to_half(tensor, heads)
        return tensor if dtype is None else tensor.to(dtype)

    # ── the checks of `open`, in order ─────────────────────────────────────────────────────────────────────────────

    def _find_text_model(self) -> None:
        """Learn what stands before the names of the text model; nothing does in the native layout."""
        names = self._shards.tensors
        prefix = hf_prefix(names) if self.layout == "hf" else ""
        if prefix is None or (self.layout == "native" and "tok_embeddings.weight" not in names):
            wanted = "embed_tokens.weight" if self.layout == "hf" else "tok_embeddings.weight"
            raise CheckpointError(f"{self.folder}: no tensor is called {wanted}; the files hold no text model.")
        self._prefix = prefix

    def _settle_output_head(self, raw: dict[str, Any]) -> None:
        """Make `config.tied_embeddings` agree with the files: a stored head is used, whatever the configuration says.

        transformers compares the two tensors and ties them if they are equal, which is the same function.
        """
        tied = self.config.tied_embeddings
        untied = dataclasses.replace(self.config, tied_embeddings=False)
        stored = any(place.name in self._shards.tensors for place in self._find(OUTPUT, (1, 1), untied))
        if stored and tied:
            self.config = untied
            self.notices.append(f"the embeddings are said to be tied, but {OUTPUT} is stored and is used.")
        if stored or tied:
            return
        text = raw.get("text_config")
        wrapper_says_nothing = isinstance(text, dict) and "tie_word_embeddings" not in {**raw, **text}
        bare = self.layout == "hf" and (self._prefix == "" or self.pooling is not None)
        if bare:
            self.has_output_head = False
            self.notices.append("no output head is stored: the model gives embeddings, it cannot generate.")
        if bare or wrapper_says_nothing:  # transformers' image wrappers tie unless told otherwise
            self.config = dataclasses.replace(self.config, tied_embeddings=True)

    def _place_tensors(self) -> None:
        """Find each canonical tensor, and check its shape and dtype."""
        self._shapes = canonical_shapes(self.config)
        bytes_by_dtype: Counter[str] = Counter()
        for name, shape in self._shapes.items():
            places = list(self._find(name, shape, self.config))
            place = next((place for place in places if place.name in self._shards.tensors), None)
            if place is None:
                raise CheckpointError(
                    f"{self.folder}: tensor {places[0].name} is missing, though {_CONFIG_FILE[self.layout]} asks for "
                    "it; download the weights again, all files from one release."
                )
            stored = self._shards.tensors[place.name]
            self._check(place, stored)
            self._places[name] = place
            bytes_by_dtype[stored.dtype] += torch.Size(shape).numel() * _DTYPES[stored.dtype].itemsize
        self.dtype = _DTYPES[bytes_by_dtype.most_common(1)[0][0]]

    def _check(self, place: Stored, stored: StoredTensor) -> None:
        where = f"{self.folder / stored.file}: tensor {place.name}"
        if stored.shape != place.shape:
            raise CheckpointError(
                f"{where} has shape {list(stored.shape)}, but {_CONFIG_FILE[self.layout]} asks for "
                f"{list(place.shape)}; take both from one release."
            )
        if stored.dtype not in _DTYPES:
            raise CheckpointError(
                f"{where} is stored as {stored.dtype}; F32, F16, BF16 and F8_E4M3 are supported, "
                "so take the bf16 release of this model."
            )
        if stored.dtype == _FP8:
            scale = self._shards.tensors.get(self._scale_name(place.name))
            if scale is None:
                raise CheckpointError(f"{where} is FP8 without a scale beside it ({', '.join(_SCALES)}).")
            if torch.Size(scale.shape).numel() != 1 or scale.dtype not in ("F32", "F16", "BF16"):
                raise CheckpointError(
                    f"{where} has an FP8 scale of shape {list(scale.shape)} in {scale.dtype}; "
                    "one float for the whole tensor is supported, so take the bf16 release of this model."
                )

    def _check_leftovers(self) -> None:
        """Say what is skipped; refuse a layer's tensor that has no place in the model, for it was trained with it."""
        used = {place.name for place in self._places.values()}
        used |= {self._scale_name(name) for name in used if self._shards.tensors[name].dtype == _FP8}
        vision = {name: tensor for name, tensor in self._shards.tensors.items() if is_vision(name)}
        if vision:
            size = sum(tensor.num_bytes for tensor in vision.values()) / 2**30
            self.notices.append(f"vision tower skipped: {len(vision)} tensors, {size:.2f} GiB.")
        others = [name for name in self._shards.tensors if name not in used and name not in vision]
        others = [name for name in others if not _IGNORED.fullmatch(name)]
        for name in others:
            if name.startswith((f"{self._prefix}layers.", f"{self._prefix}norm.", f"{self._prefix}embed_tokens.")):
                raise CheckpointError(
                    f"{self.folder / self._shards.tensors[name].file}: tensor {name} has no place in the model that "
                    f"{_CONFIG_FILE[self.layout]} describes (a quantised, adapted or other architecture); "
                    "take the bf16 release."
                )
        if others:
            self.notices.append(f"{len(others)} tensors outside the text model skipped, the first is {others[0]}.")

    # ── where things are ───────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, name: str, shape: Shape, config: ModelConfig) -> Iterator[Stored]:
        if self.layout == "native":
            return native_places(name, shape, config)
        return hf_places(name, shape, config, self._prefix)

    def _scale_name(self, stored_name: str) -> str:
        """The scale of an FP8 tensor; the first candidate when none is stored."""
        base = stored_name.removesuffix("weight")
        candidates = [base + scale for scale in _SCALES]
        return next((name for name in candidates if name in self._shards.tensors), candidates[0])


def _find_layout(folder: Path) -> Layout:
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; give the folder that holds the model's files.")
    described: list[Layout] = [layout for layout, file in _CONFIG_FILE.items() if (folder / file).is_file()]
    for layout in described:
        if has_weights(folder, layout):
            return layout
    if pickles := pickle_files(folder):
        raise CheckpointError(
            f"{folder / pickles[0]} is a pickle, and pickles are never loaded since they can run code; "
            "convert the weights to safetensors."
        )
    if not described:
        raise CheckpointError(f"{folder} has neither params.json nor config.json; it is not a checkpoint.")
    wanted = " or ".join(
        {"native": "consolidated*.safetensors", "hf": "model*.safetensors"}[layout] for layout in described
    )
    raise CheckpointError(f"{folder} has {_CONFIG_FILE[described[0]]} but no {wanted}; download the weights.")


def _dequantise(weight: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """weight [out, in] in e4m3 times one scale, computed in float32 and rounded once to `dtype`."""
    factor = scale.to(torch.float32).reshape(())
    result = torch.empty(weight.shape, dtype=dtype)
    for start in range(0, weight.shape[0], _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        result[rows] = weight[rows].to(torch.float32) * factor
    return result
