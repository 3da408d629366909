"""How a document is set: no-break blanks, curly apostrophes, lines of a fixed width. Its values are set alike."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable

Setting = Callable[[str], str]

_BLANK_INSIDE = re.compile(r"(?<=\d) (?=\d{3}\b|[€%]|h\b|kg\b|W\b|m²|mg/l|°C)|(?<=«) | (?=[»:;!?])")


def draw_setting(language: str, rng: random.Random) -> Setting:
    """Most documents are plain; French and Italian ones may have curly apostrophes, French ones no-break blanks."""
    settings: list[Setting] = []
    if language in ("fr", "it") and rng.random() < 0.25:
        settings.append(curly)
    if language == "fr" and rng.random() < 0.2:
        settings.append(no_break)
    return lambda text: _apply(settings, text)


def curly(text: str) -> str:
    """With typographic apostrophes."""
    return text.replace("'", "’")


def no_break(text: str) -> str:
    """With no-break blanks where French typography has them."""
    return _BLANK_INSIDE.sub("\u00a0", text)


def wrapped(text: str, width: int) -> str:
    """Paragraphs broken into lines, as in mails and old text files."""
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _apply(settings: list[Setting], text: str) -> str:
    for setting in settings:
        text = setting(text)
    return text
