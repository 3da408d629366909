"""Texts to measure perplexity on: plain files by language, cut into pieces that any model's context holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tramontane.errors import TramontaneError

_LONGEST = 3000  # characters


def texts_in(folder: Path) -> dict[str, list[str]]:
    """The pieces of each `LANGUAGE.txt` in a folder, as a training run's `held_out`, by language.

    Form feeds divide documents; pieces are of one document, of at most 3,000 characters, and whole paragraphs where
    these are short enough. Raises TramontaneError that names what is missing or unreadable.
    """
    texts = {path.stem: list(_pieces(_read(path))) for path in sorted(folder.glob("*.txt"))}
    if not texts:
        raise TramontaneError(f"{folder} holds no text: it needs files by language, as fr.txt.")
    for language, pieces in texts.items():
        if not pieces:
            raise TramontaneError(f"{folder / language}.txt is empty; remove it.")
    return texts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TramontaneError(f"{path} cannot be read as text: {error}.") from error


def _pieces(text: str) -> Iterator[str]:
    for document in text.split("\f"):
        piece = ""
        for paragraph in _paragraphs(document):
            if piece and len(piece) + 2 + len(paragraph) > _LONGEST:
                yield piece
                piece = ""
            piece = f"{piece}\n\n{paragraph}" if piece else paragraph
        if piece:
            yield piece


def _paragraphs(document: str) -> Iterator[str]:
    """Paragraphs, long ones cut at a blank or, without any, where they are too long."""
    for paragraph in document.split("\n\n"):
        rest = paragraph.strip()
        while len(rest) > _LONGEST:
            cut = rest.rfind(" ", 0, _LONGEST)
            cut = cut if cut > 0 else _LONGEST
            yield rest[:cut]
            rest = rest[cut:].strip()
        if rest:
            yield rest
