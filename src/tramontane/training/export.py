"""A finished run as a model that anyone can load: weights, tokenizer, card and record in one folder."""

from __future__ import annotations

import hashlib
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCardData

from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.layouts import Layout
from tramontane.training.files import write_json, write_text
from tramontane.training.record import SourceRecord, TrainingRecord, read_record, write_record

RECORD = "training_record.json"
EVALUATION = "evaluation.json"
CARD = "README.md"
_SOFTWARE = ("tramontane", "torch", "numpy", "tokenizers", "mistral-common", "safetensors")
_DIGESTED = (".safetensors", ".json")


def export_model(
    folder: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    tokenizer_file: Path,
    record: TrainingRecord,
    card: str,
    *,
    layout: Layout = "hf",
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Writes the checkpoint in `layout`, `tekken.json`, the card and the record, whose digests it fills in."""
    save_checkpoint(folder, config, tensors, layout, dtype)
    shutil.copyfile(tokenizer_file, folder / "tekken.json")
    record.model.digests = {
        path.name: digest(path)
        for path in sorted(folder.iterdir())
        if path.suffix in _DIGESTED and path.name not in (RECORD, EVALUATION)
    }
    write_record(record, folder / RECORD)
    write_text(folder / CARD, card)


def write_evaluation(folder: Path, figures: dict[str, Any], section: str) -> None:
    """Puts an evaluation beside the model in `folder`: figures as JSON and in the record, `section` in the card.

    An evaluation that is there already is replaced. What the folder does not have, card or record, is left out.
    """
    write_json(folder / EVALUATION, figures)
    if (folder / RECORD).exists():
        record = read_record(folder / RECORD)
        record.evaluation = figures
        write_record(record, folder / RECORD)
    if (folder / CARD).exists():
        head, *sections = (folder / CARD).read_text(encoding="utf-8").split("\n## ")
        kept = [one.rstrip("\n") + "\n" for one in sections if not one.startswith("Evaluation\n")]
        place = 1 if kept and kept[0].startswith("Model\n") else 0
        kept.insert(place, f"Evaluation\n\n{section.strip()}\n")
        write_text(folder / CARD, "\n## ".join([head, *kept]))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def software_versions() -> dict[str, str]:
    """What a run was computed with, by package."""
    found = {}
    for name in _SOFTWARE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def model_card(record: TrainingRecord, languages: list[str], description: str) -> str:
    """The card as the hub wants it: a YAML header, then what the record knows, in words."""
    model, compute = record.model, record.compute
    header = ModelCardData(
        language=languages,
        license=model.licence,
        pipeline_tag="text-generation",
        tags=["mistral", "tramontane"],
    )
    energy = "not known" if compute.energy_mwh is None else f"{compute.energy_mwh:.2g} MWh ({compute.energy_method})"
    lines = [
        "---",
        header.to_yaml(),
        "---",
        "",
        f"# {model.name}",
        "",
        description.strip() or f"A language model trained from the recipe `{record.recipe}`.",
        "",
        "## Model",
        "",
        f"{model.architecture}: {model.parameters:,} parameters, {model.layers} layers of {model.dim}, a vocabulary of "
        f"{model.vocabulary:,}, a context of {model.context_tokens:,} tokens.{_base(record)}",
        "",
        "## Training",
        "",
        f"{record.tokens:,} tokens, {compute.flops:.3g} FLOP ({compute.flops_method}), {compute.wall_seconds:,.0f} s "
        f"on {compute.devices} × {compute.device}; energy {energy}.",
        "",
        "| stage | tokens | sequence | loss |",
        "|---|---|---|---|",
        *(
            f"| {stage.name} | {stage.tokens:,} | {stage.sequence_length:,} | "
            f"{'–' if stage.loss is None else f'{stage.loss:.3f}'} |"
            for stage in record.stages
        ),
        "",
        "## Data",
        "",
        f"Every source of text and every kind of generated sample; the whole record is in [{RECORD}]({RECORD}).",
        "",
        "| source | version | licence | language | documents | tokens | share |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {_linked(s)} | {s.version} | {s.licence} | {s.language} | {s.documents:,} | {s.tokens:,} | "
            f"{s.share:.1%} |"
            for s in record.sources
        ),
        "",
        "| samples | language | number | tokens |",
        "|---|---|---|---|",
        *(f"| {s.kind} | {s.language} | {s.samples:,} | {s.tokens:,} |" for s in record.samples),
        "",
    ]
    return "\n".join(lines)


def _base(record: TrainingRecord) -> str:
    """What the model goes on from, and where to read what that was trained on."""
    model = record.model
    if model.base_model is None:
        return ""
    known = (
        f"its own record is in this one's `base` ([{RECORD}]({RECORD}))" if record.base else "it came without a record"
    )
    return f" It goes on from {model.base_model} ({model.base_model_digest}); {known}."


def _linked(source: SourceRecord) -> str:
    """A source's name, and its origin: as a link, if it is one."""
    if source.origin.startswith(("https://", "http://")):
        return f"[{source.name}]({source.origin})"
    return f"{source.name} ({source.origin})"
