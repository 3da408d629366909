"""Values as each language writes them: dates, times, amounts, numbers, durations; names and words by their lists."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from tramontane.training.generators.joining import join
from tramontane.training.generators.names import Names
from tramontane.training.generators.template import template

_RANGES = {
    "kg": (5, 400, 10),
    "mg/l": (1, 900, 10),
    "W": (5, 90, 0.05),
    "m²": (28, 320, 1),
    "°C": (2, 28, 1),
    "m": (1, 12, 1),
    "t": (3, 140, 1),
}
_DECIMAL_POINT = {"en": "."}
_THOUSANDS = {"fr": " ", "de": ".", "es": ".", "it": ".", "en": ","}
_SUMS = {"money": (800, 99_000), "bigmoney": (2, 90), "price": (30, 2_000), "price2": (400, 4_000), "price0": (2, 60)}


class Values:
    """Draws values of one language by their kind: `date`, `money`, `measure:kg`, `person`, `word:colour`…"""

    def __init__(self, language: str, names: Names, words: Mapping[str, Sequence[str]]) -> None:
        self.language, self.names, self._words = language, names, words
        self._kinds: dict[str, Callable[[random.Random], str]] = {
            "date": self.date,
            "olddate": lambda rng: self.date(rng, (1790, 1960)),
            "time": self.time,
            "duration": self.duration,
            "phone": self.phone,
            "year": lambda rng: str(rng.randrange(1790, 2010)),
            "count": lambda rng: self.number(rng.choice((rng.randrange(13, 99), rng.randrange(100, 2_000)))),
            "count2": lambda rng: str(rng.randrange(8, 40)),
            "smallcount": lambda rng: rng.choice((str(rng.randrange(2, 13)), rng.choice(words["number"]))),
            "smallcount2": lambda rng: str(rng.randrange(1, 400)),
            "digit": lambda rng: str(rng.randrange(1, 25)),
            "title": lambda rng: self.word("title", rng),
        }
        for kind in ("first", "person", "place", "firm", "club", "villa", "product", "machine", "code"):
            self._kinds[kind] = getattr(names, kind)

    def draw(self, kind: str, rng: random.Random) -> str:
        """A value of the kind."""
        known = self._kinds.get(kind)
        if known is not None:
            return known(rng)
        if kind in _SUMS:
            return self.money(kind, rng)
        name, _, detail = kind.partition(":")
        return self.measure(detail, rng) if name == "measure" else self.word(detail, rng)

    def join(self, text: str, word: str) -> str:
        """The text with the word behind it, as the language joins them."""
        return join(self.language, text, word)

    def number(self, number: int) -> str:
        """With its thousands apart, from 10,000 on, and sometimes before."""
        text = str(number)
        return text if number < 1000 else f"{text[:-3]}{_THOUSANDS[self.language]}{text[-3:]}"

    def date(self, rng: random.Random, years: tuple[int, int] = (2019, 2032)) -> str:
        """Day, month in words, and most often the year."""
        day, month = rng.randrange(1, 29), rng.choice(self._words["month"])
        year = f"{rng.randrange(*years)}" if rng.random() < 0.85 else ""
        match self.language:
            case "fr":
                parts = ["1er" if day == 1 else str(day), month, year]
            case "de":
                parts = [f"{day}.", month, year]
            case "es":
                parts = [f"{day} de {month}", f"de {year}" if year else ""]
            case "it":
                parts = ["1º" if day == 1 else str(day), month, year]
            case _:
                if year and rng.random() < 0.2:
                    return f"{month} {day}, {year}"
                parts = [str(day), month, year]
        return " ".join(part for part in parts if part)

    def time(self, rng: random.Random) -> str:
        """A time of day on the 24-hour clock, in English half of the times on the 12-hour clock."""
        hour, minute = rng.randrange(7, 22), rng.choice((0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55))
        match self.language:
            case "fr":
                return f"{hour} h {minute:02}" if minute else f"{hour} heures"
            case "de":
                return f"{hour}{rng.choice('.:')}{minute:02} Uhr" if minute else f"{hour} Uhr"
            case "es":
                return f"{hour}:{minute:02}"
            case "it":
                return f"{hour}{rng.choice('.:')}{minute:02}"
        if rng.random() < 0.5:
            return f"{hour}:{minute:02}"
        return f"{(hour - 1) % 12 + 1}:{minute:02} {'am' if hour < 12 else 'pm'}"

    def duration(self, rng: random.Random) -> str:
        """So many days, weeks, months or years, in digits or in words."""
        units = self._words["unit_of_time"]
        unit = rng.choice(units)
        number = rng.randrange(2, 6 if unit == units[-1] else 13)
        return f"{number if rng.random() < 0.5 else self._words['number'][number - 2]} {unit}"

    def money(self, kind: str, rng: random.Random) -> str:
        """An amount in euros: in words or with the sign, small ones sometimes with cents, large ones in millions."""
        low, high = _SUMS[kind]
        amount = rng.randrange(low, high)
        if kind == "bigmoney":
            return self._millions(amount, rng)
        if kind == "money":
            amount = amount // 10 * 10
        digits = self.number(amount)
        if kind in ("price", "price0") and rng.random() < 0.5:
            digits += f"{_DECIMAL_POINT.get(self.language, ',')}{rng.choice((50, 90, 20, 75, 99, 40)):02}"
        if self.language == "en":
            return rng.choice((f"€{digits}", f"{digits} euros"))
        word = {"fr": "euros", "es": "euros", "de": "Euro", "it": "euro"}[self.language]
        return f"{digits} {rng.choice((word, '€'))}"

    def _millions(self, amount: int, rng: random.Random) -> str:
        point = _DECIMAL_POINT.get(self.language, ",")
        digits = f"{amount}{point}{rng.randrange(1, 10)}" if rng.random() < 0.5 else str(amount)
        million = {"fr": "millions d'euros", "de": "Millionen Euro", "es": "millones de euros", "it": "milioni di euro"}
        return f"{digits} {million.get(self.language, 'million euros')}"

    def measure(self, unit: str, rng: random.Random) -> str:
        """A number with its unit."""
        low, high, parts = _RANGES[unit]
        number = rng.randrange(low, high) / parts
        digits = f"{number:.1f}".replace(".", _DECIMAL_POINT.get(self.language, ",")) if parts > 1 else None
        return f"{digits or self.number(int(number))} {unit}"

    def phone(self, rng: random.Random) -> str:
        """Digits in pairs; no country's plan."""
        return " ".join(["0" + str(rng.randrange(1, 10))] + [f"{rng.randrange(100):02}" for _ in range(4)])

    def word(self, name: str, rng: random.Random) -> str:
        """One of the words of a list."""
        return template(rng.choice(self._words[name])).fill(rng, lambda slot: self.draw(slot, rng), self.join)
