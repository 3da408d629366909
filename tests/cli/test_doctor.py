"""`tramontane doctor`: facts, and the choices made from them."""

from __future__ import annotations

import json

import torch
from typer.testing import CliRunner

from tramontane.cli.main import cli


def test_tells_what_was_found_and_what_will_be_used() -> None:
    facts = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)
    assert facts["found"]["cores"] >= 1
    assert facts["found"]["memory_bytes"] > 2**28
    assert facts["used"]["dtype"] in {"bfloat16", "float16", "float32"}
    assert facts["used"]["attention"] in {"native", "sdpa"}
    assert facts["software"]["torch"] == torch.__version__
    if facts["used"]["device"] == "cpu":
        assert facts["used"]["int8_kernel"] in {"onednn", "int_mm", "float32"}


def test_the_table_holds_the_same() -> None:
    text = CliRunner().invoke(cli, ["doctor"]).stdout
    for word in ("found", "used", "software", "attention", "GiB"):
        assert word in text


def test_every_command_has_help_with_an_example() -> None:
    for command in (["generate"], ["doctor"], ["bench", "engine"]):
        result = CliRunner().invoke(cli, [*command, "--help"])
        assert result.exit_code == 0
        assert "Example: " in result.stdout
