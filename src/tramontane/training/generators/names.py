"""Names that nobody bears: made of syllables, by language, so that a model can only find them in the text before it.

A file of names has lists of syllables (a start ends in a consonant, a middle and an end begin with a vowel or fit any
consonant) and the forms that firms, clubs and houses take.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from tramontane.training.generators.joining import join
from tramontane.training.generators.template import template

SYLLABLES = ("first", "start", "middle", "end", "place_start", "place_end", "firm_end")
_LETTERS = "ABCDEFGHJKLMNPRSTVWXZ"


class Names:
    """Makes the names of one language, from one set of syllables."""

    def __init__(self, language: str, lists: Mapping[str, Sequence[str]]) -> None:
        self._language, self._lists = language, lists

    def first(self, rng: random.Random) -> str:
        """A first name, the one thing that is no invention: they are words like others."""
        return rng.choice(self._lists["first"])

    def surname(self, rng: random.Random) -> str:
        """Two or three syllables; now and then a double name."""
        lists = self._lists
        name = rng.choice(lists["start"])
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            name += rng.choice(lists["middle"])
        name += rng.choice(lists["end"])
        return f"{name}-{self.surname(rng)}" if rng.random() < 0.03 else name

    def person(self, rng: random.Random) -> str:
        """First name and surname."""
        return f"{self.first(rng)} {self.surname(rng)}"

    def place(self, rng: random.Random) -> str:
        """A town or village."""
        lists = self._lists
        middle = rng.choice(lists["middle"]) if rng.random() < 0.5 else ""
        return rng.choice(lists["place_start"]) + middle + rng.choice(lists["place_end"])

    def brand(self, rng: random.Random) -> str:
        """A word for firms and things."""
        lists = self._lists
        middle = rng.choice(lists["middle"]) if rng.random() < 0.7 else ""
        return rng.choice(lists["start"]) + middle + rng.choice(lists["firm_end"])

    def firm(self, rng: random.Random) -> str:
        """A company."""
        return self._form("firm_form", rng)

    def club(self, rng: random.Random) -> str:
        """An association."""
        return self._form("club_form", rng)

    def villa(self, rng: random.Random) -> str:
        """A house with a name."""
        return self._form("villa_form", rng)

    def product(self, rng: random.Random) -> str:
        """A model: a brand and a number or letters."""
        mark = rng.choice((str(rng.randrange(2, 100) * 10), f"{rng.choice(_LETTERS)}{rng.randrange(1, 100)}"))
        return f"{self.brand(rng)} {mark}"

    def machine(self, rng: random.Random) -> str:
        """A machine: letters and numbers, or a brand."""
        return self.code(rng) if rng.random() < 0.6 else self.product(rng)

    def code(self, rng: random.Random) -> str:
        """A file number, a sample, an order: two letters and digits, in one of four forms."""
        letters = rng.choice(_LETTERS) + rng.choice(_LETTERS)
        digits = rng.randrange(100, 10_000)
        form = rng.randrange(4)
        if form == 0:
            return f"{letters}-{digits}"
        if form == 1:
            return f"{letters}{digits}"
        if form == 2:
            return f"{rng.randrange(10, 1000)}-{letters}"
        return f"{letters}-{digits}-{rng.choice(_LETTERS)}"

    def _form(self, form: str, rng: random.Random) -> str:
        def value(slot: str) -> str:
            return self.place(rng) if slot == "p" else self.brand(rng) if slot == "b" else self.surname(rng)

        def joined(text: str, word: str) -> str:
            return join(self._language, text, word)

        return template(rng.choice(self._lists[form])).fill(rng, value, joined)
