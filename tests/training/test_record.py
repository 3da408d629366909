"""A record is read back as it was written, and what only people can say stays unsaid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tramontane.training.errors import TrainingError
from tramontane.training.export import model_card
from tramontane.training.record import (
    Attestation,
    Compute,
    ModelRecord,
    SampleRecord,
    SourceRecord,
    StageRecord,
    TrainingRecord,
    read_record,
    write_record,
)

RECORD = TrainingRecord(
    model=ModelRecord("m", "2026-11-24", "MistralForCausalLM", 1000, 256, 332, 2, 32, "apache-2.0", {"a": "sha256:0"}),
    recipe="small",
    recipe_digest="0" * 64,
    started="2026-11-24T12:00:00+00:00",
    sources=[SourceRecord("s", "1", "MIT", "https://x", "2026-11-24", "fr", 3, 400, 1.0, "sha256:1", 2, 1)],
    samples=[SampleRecord("repeat", "none", 10, 300, 150)],
    stages=[StageRecord("first", 700, 7, 256, 1.25), StageRecord("second", 300, 3, 256)],
    compute=Compute(6e6, wall_seconds=60, device="cpu", energy_mwh=1e-6, energy_method="estimated"),
    evaluation={"exact": {"fr": 0.5}},
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == RECORD
    assert RECORD.tokens == 1000


def test_no_attestation_is_inferred(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path / "record.json")
    said = json.loads((tmp_path / "record.json").read_text())["attestations"]
    assert set(said.values()) == {"to_be_provided"}
    said_by_a_person = json.loads((tmp_path / "record.json").read_text()) | {"attestations": {"user_data": "no"}}
    (tmp_path / "record.json").write_text(json.dumps(said_by_a_person))
    assert read_record(tmp_path / "record.json").attestations.user_data is Attestation.NO


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "other/1"}, "is no training record of the schema"),
        ({"stages": [{"name": 3}]}, r"TrainingRecord.stages\[0\].name must be"),
        ({"colour": 1}, "unknown field, colour"),
        ({"attestations": {"user_data": "maybe"}}, "maybe"),
        ({"model": 1}, "TrainingRecord.model must be an object"),
    ],
)
def test_a_wrong_record_is_refused_by_the_field(tmp_path: Path, change: dict[str, object], said: str) -> None:
    write_record(RECORD, tmp_path / "record.json")
    data = json.loads((tmp_path / "record.json").read_text()) | change
    (tmp_path / "record.json").write_text(json.dumps(data))
    with pytest.raises(TrainingError, match=said):
        read_record(tmp_path / "record.json")
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_record(tmp_path / "record.json")


def test_the_card_says_what_the_record_knows() -> None:
    from huggingface_hub import ModelCard

    text = model_card(RECORD, ["fr", "de"], "A model of *one* thing.")
    data = ModelCard(text).data.to_dict()
    assert (data["language"], data["license"], data["pipeline_tag"]) == (["fr", "de"], "apache-2.0", "text-generation")
    assert "base_model" not in data
    for part in (
        "A model of *one* thing.",
        "| repeat | none | 10 | 300 |",
        "| [s](https://x) | 1 | MIT | fr | 3 | 400 |",
    ):
        assert part in text
    assert "1,000 tokens, 6e+06 FLOP" in text
