"""What a model's folder says of itself to people: its licence, its languages, what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tramontane.catalogue.bundled import BUNDLED_FOLDER, bundled_model
from tramontane.catalogue.record import read_record


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """None and empty where nobody said."""

    licence: str | None = None
    languages: tuple[str, ...] = ()
    summary: str | None = None
    thinks: bool = True  # as far as its tokenizer can: most files do not say what a model was taught
    focus: bool = False  # it finds a value in a sentence, and not a sentence among others


def model_facts(folder: Path) -> ModelFacts:
    """Of the bundled model what its card says; of one that was pulled, what its record says."""
    if folder == BUNDLED_FOLDER:
        languages, summary = _read_card((folder / "README.md").read_text(encoding="utf-8"))
        return ModelFacts(bundled_model().licence, languages, summary, thinks=False, focus=True)
    record = read_record(folder)
    return ModelFacts() if record is None else ModelFacts(record.licence)


def _read_card(text: str) -> tuple[tuple[str, ...], str]:
    """The languages of a model card that we wrote ourselves, and its first paragraph."""
    _, front, rest = text.split("---\n", 2)
    listed = front.partition("language:\n")[2].splitlines()
    languages = []
    for line in listed:
        if not line.startswith("- "):
            break
        languages.append(line[2:].strip())
    paragraphs = [paragraph for paragraph in rest.strip().split("\n\n") if not paragraph.startswith("#")]
    return tuple(languages), " ".join(paragraphs[0].split())
