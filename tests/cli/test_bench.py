"""`tramontane bench engine` runs through, and its figures hang together; how fast it is, is no matter for a test."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tramontane.cli.main import cli


@pytest.mark.parametrize("quantization", ["none", pytest.param("int8", marks=pytest.mark.heavy)])
def test_measures_everything_on_a_small_shape(quantization: str) -> None:
    arguments = ["bench", "engine", "--shape", "tiny-15m", "--layers", "1", "--long-prompt", "600", "--json"]
    result = CliRunner().invoke(cli, [*arguments, "--quantization", quantization], catch_exceptions=False)
    figures = json.loads(result.stdout)
    names = [rate["name"] for rate in figures["rates"]]
    assert names[:2] == ["prompt of 512", "prompt of 2048"]
    assert names[2:] == [f"decode, {n} at once" for n in (1, 4, 8, 16, 32)]
    assert all(rate["tokens_per_second"] > 0 for rate in figures["rates"])
    assert figures["read_gb_per_second"] > 0
    assert figures["first_token_seconds"] > 0
    assert figures["first_token_cached_seconds"] > 0  # less than that only where no neighbour computes
    assert figures["quiet"]["median_ms"] <= figures["quiet"]["p95_ms"]
    assert sum(figures["step_shares"].values()) == pytest.approx(1)


def test_an_unknown_shape_is_refused_by_name() -> None:
    result = CliRunner().invoke(cli, ["bench", "engine", "--shape", "mistral-9000"])
    assert result.exit_code != 0
    assert "mistral-7b" in str(result.exception)
