"""Samples made by rule: templates and lists of words written for this purpose, invented names, and a random state.

`GENERATORS` has each kind once for all languages (`quote`) and once for each (`quote-fr`), so that a recipe can weigh
kinds and languages. `quote_abstain` is a kind of its own: how many questions have no answer is the recipe's choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tramontane.training.generators import quotes
from tramontane.training.generators.actions import action_sample
from tramontane.training.generators.arithmetic import arithmetic_sample
from tramontane.training.generators.code import code_sample, fim_sample
from tramontane.training.generators.material import LANGUAGES
from tramontane.training.generators.quotes import Difficulty, look_up_sample, quote_sample
from tramontane.training.generators.small_talk import talk_sample
from tramontane.training.generators.tools import tool_sample
from tramontane.training.generators.which_tool import which_tool_sample
from tramontane.training.samples import Generator, Sample

__all__ = ["GENERATORS"]

_InLanguage = Callable[[random.Random, str, str], Sample]  # of a random state, a kind and a language


def _quoting(difficulty: Difficulty) -> _InLanguage:
    return lambda rng, kind, language: quote_sample(rng, kind, language, difficulty)


_KINDS: dict[str, _InLanguage] = {
    "retrieve": look_up_sample,
    "quote_which": _quoting(quotes.WHICH),
    "quote_what": _quoting(quotes.WHAT),
    "quote_easy": _quoting(quotes.EASY),
    "quote_short": _quoting(quotes.SHORT),
    "quote": _quoting(quotes.FULL),
    "quote_long": _quoting(quotes.LONG),
    "quote_abstain": _quoting(quotes.abstaining(quotes.FULL)),
    "quote_abstain_short": _quoting(quotes.abstaining(quotes.SHORT)),
    "tools": tool_sample,
    "actions": action_sample,
    "arithmetic": arithmetic_sample,
    "code": code_sample,
    "talk": talk_sample,
}


def _in_any_language(kind: str, draw: _InLanguage) -> Generator:
    return lambda rng: draw(rng, kind, rng.choice(LANGUAGES))


def _in_one_language(kind: str, draw: _InLanguage, language: str) -> Generator:
    return lambda rng: draw(rng, kind, language)


GENERATORS: dict[str, Generator] = {
    **{kind: _in_any_language(kind, draw) for kind, draw in _KINDS.items()},
    **{
        f"{kind}-{language}": _in_one_language(kind, draw, language)
        for kind, draw in _KINDS.items()
        for language in LANGUAGES
    },
    "fim": lambda rng: fim_sample(rng, "fim"),
    "which_tool": lambda rng: which_tool_sample(rng, "which_tool"),
}
"""Every kind by name. The samples of `kind-language` are counted as `kind`; a question may be in another language than
its documents, and is counted by its own."""
