"""What a model's folder says of itself to people: its licence, its languages, what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from tramontane.catalogue.bundled import BUNDLED_FOLDER, BUNDLED_MODEL, bundled_context, bundled_model
from tramontane.catalogue.family import FamilyModel, Licence
from tramontane.catalogue.lifecycle import Lifecycle
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


@cache
def bundled_entry() -> FamilyModel:
    """The bundled model as the catalogue lists it, from its record and its card."""
    model, facts = bundled_model(), model_facts(BUNDLED_FOLDER)
    return FamilyModel(
        name=BUNDLED_MODEL,
        title=BUNDLED_MODEL,
        version=model.revision or "",
        maker="Tramontane",
        summary=facts.summary or "",
        licence=Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0.txt", True, False),
        parameters=model.parameters,
        active_parameters=model.parameters,
        max_context=bundled_context(),
        languages=facts.languages,
        abilities=("chat",),
        file_formats=("safetensors",),
        repository=None,
        released=date.fromisoformat(model.revision or ""),
        documents=(),
        announced=Lifecycle(),
        aliases=(),
    )


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
