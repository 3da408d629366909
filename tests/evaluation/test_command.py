"""`tramontane eval` from end to end, with a model that knows nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM
from typer.testing import CliRunner

from tests.tokenizers import SPM_V3
from tramontane.cli.main import cli
from tramontane.training.generators.material import LANGUAGES


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=64,
        vocab_size=32_768,
        max_position_embeddings=1024,
        sliding_window=None,
    )
    MistralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    shutil.copy(SPM_V3, folder / "tokenizer.model.v3")
    return folder


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["eval", *arguments, "--kv-memory", "64MiB"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_table_for_programs(checkpoint: Path) -> None:
    result = json.loads(run(str(checkpoint), "--items", "1", "--documents", "2-3", "--json"))
    measures = {(one["task"], one["measure"], one["quote_grammar"]) for one in result["measures"]}
    assert {
        ("2-3 documents", "exact", True),
        ("2-3 documents", "exact", False),
        ("tools", "call", False),
    } <= measures
    assert set(result["perplexity"]) == set(result["bits_per_byte"]) == set(LANGUAGES)
    assert all(value > 1000 for value in result["perplexity"].values())


@pytest.mark.parametrize("documents", ["0", "3-2", "few"])
def test_a_wrong_number_of_documents_is_one_sentence(checkpoint: Path, documents: str) -> None:
    done = CliRunner().invoke(cli, ["eval", str(checkpoint), "--documents", documents])
    assert done.exit_code == 1
    assert "write it as 12-24" in str(done.exception)
