"""`tramontane generate` on a checkpoint as users have it: transformers' files, mistral-common's tokenizer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jsonschema import validate
from transformers import MistralConfig, MistralForCausalLM
from typer.testing import CliRunner

from tests.tokenizers import SPM_V3
from tramontane.cli.main import cli
from tramontane.cli.model_options import parse_size
from tramontane.errors import TramontaneError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=256,
        vocab_size=32_768,
        sliding_window=None,
    )
    MistralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    shutil.copy(SPM_V3, folder / "tokenizer.model.v3")
    return folder


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAMONTANE_HOME", str(tmp_path / "home"))


def run(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command as the shell runs it."""
    program = "from tramontane.cli.main import app; app()"
    command = [sys.executable, "-c", program, "generate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=120, check=False)


def answer(*arguments: str | Path) -> dict[str, object]:
    """The command's JSON, without a process of its own."""
    result = CliRunner().invoke(cli, ["generate", *map(str, arguments), "--json"], catch_exceptions=False)
    reply: dict[str, object] = json.loads(result.stdout)
    return reply


def test_writes_an_answer_and_says_how_fast(checkpoint: Path) -> None:
    result = run("Name three winds.", "--model", checkpoint, "--max-tokens", "8")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert "8 written" in result.stderr
    assert "tokens/s" in result.stderr


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_the_same_seed_gives_the_same_answer(checkpoint: Path, quantization: str) -> None:
    arguments = ("Winds?", "--model", checkpoint, "--seed", "7", "--max-tokens", "12", "--quantization", quantization)
    first = answer(*arguments)
    assert first["text"] == answer(*arguments)["text"]
    assert first["finish_reason"] == "length"
    assert first["usage"] == {"prompt_tokens": 6, "completion_tokens": 12}


def test_an_answer_follows_its_schema(checkpoint: Path, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"enum": ["mistral", "tramontane"]}, "strong": {"type": "boolean"}},
        "required": ["name", "strong"],
        "additionalProperties": False,
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    reply = answer("A wind?", "--model", checkpoint, "--schema", tmp_path / "schema.json", "--max-tokens", "200")
    assert reply["finish_reason"] == "stop"
    validate(json.loads(str(reply["text"])), schema)


def test_an_answer_quotes_its_document_or_refuses(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "winds.txt").write_text("The mistral blows from the north. The tramontane blows from the west.")
    reply = answer(
        "Which wind?", "--model", checkpoint, "--document", tmp_path / "winds.txt", "--max-tokens", "300", "--seed", "3"
    )
    assert reply["finish_reason"] == "stop"
    text = str(reply["text"])
    assert text.strip().startswith("«") == ("[1]" in text)


def test_standard_input_and_raw_text(checkpoint: Path) -> None:
    result = run("-", "--model", checkpoint, "--raw", "--max-tokens", "4", stdin="Once upon a")
    assert result.returncode == 0, result.stderr
    assert "4 prompt tokens" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("x", "--model", "/nowhere"), "No model folder"),
        (("x", "--model", "open-mistral-7b"), "run `tramontane pull open-mistral-7b` first"),
        (("x", "--model", "random:tiny-15m"), "random weights and no folder"),
        (("x", "--model", "mistrall"), "did you mean"),
        (("x", "--model", "{checkpoint}", "--quantization", "int2"), "choose none, int8 or int4"),
        (("x", "--model", "{checkpoint}", "--temperature", "-1"), "temperature is -1.0"),
        (("x", "--model", "{checkpoint}", "--regex", "("), "grammar"),
        (("x", "--model", "{checkpoint}", "--kv-memory", "plenty"), "is not a size"),
        (("x", "--model", "{checkpoint}", "--schema", "/nowhere.json"), "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(checkpoint: Path, arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(TramontaneError, match=complaint):
        answer(*(argument.format(checkpoint=checkpoint) for argument in arguments))


def test_an_error_is_one_sentence_and_exit_status_1() -> None:
    result = run("x", "--model", "/nowhere")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: No model folder '/nowhere'")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_sizes() -> None:
    assert parse_size("4GiB") == 4 * 2**30
    assert parse_size(" 1.5 MiB") == 3 * 2**19
    assert parse_size("1000") == 1000
    with pytest.raises(TramontaneError, match="is not a size"):
        parse_size("4 parsecs")
