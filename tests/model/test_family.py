"""The shapes in family.json, against the sizes that their publishers state."""

from __future__ import annotations

import pytest
import torch

from tramontane.errors import CheckpointError
from tramontane.model.checkpoint import canonical_shapes
from tramontane.model.config_hf import from_hf_config, to_hf_config
from tramontane.model.config_native import from_params_json, to_params_json
from tramontane.model.family import shape, shapes, title

# Billions of parameters of the text model, as its model card has them.
PARAMETERS = {
    "tiny-15m": 0.015,
    "mistral-7b": 7.25,
    "mixtral-8x7b": 46.7,
    "mixtral-8x22b": 140.6,
    "codestral-22b": 22.2,
    "nemo-12b": 12.2,
    "ministral-8b": 8.02,
    "large-123b": 122.6,
    "small-24b": 23.6,
    "ministral-3-3b": 3.4,
    "ministral-3-8b": 8.5,
    "ministral-3-14b": 13.5,
    "devstral-2-123b": 125.0,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_are_the_published_ones(name: str) -> None:
    total = sum(torch.Size(size).numel() for size in canonical_shapes(shape(name)).values())
    assert total / 1e9 == pytest.approx(PARAMETERS[name], rel=0.02)


def test_particular_shapes() -> None:
    assert shape("mistral-7b-v0.1").windows == (4096,) * 32
    assert shape("ministral-8b").windows == (None, 32768, 32768, 32768) * 9
    assert shape("ministral-3-3b").tied_embeddings
    assert shape("devstral-2-123b").query_scale_beta == 0
    tiny = shape("tiny-15m")
    assert (tiny.dim, tiny.num_heads, tiny.num_kv_heads, tiny.head_dim) == (384, 6, 2, 64)
    assert tiny.tied_embeddings


@pytest.mark.parametrize("name", shapes())
def test_every_shape_can_be_written_in_both_layouts(name: str) -> None:
    config = shape(name)
    assert from_params_json(to_params_json(config), "params.json") == config
    assert from_hf_config(to_hf_config(config), "config.json") == config
    assert title(name)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match=r"no model is called 'gpt'; the known ones are tiny-15m, mistral-7b"):
        shape("gpt")


@pytest.mark.parametrize("name", ["small-4-119b", "large-3-675b"])
def test_models_of_the_family_that_are_not_supported_say_why(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name} is not supported: .*multi-head latent attention"):
        shape(name)
