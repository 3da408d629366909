"""Short Python: functions on request, and code with a gap to fill.

A file has the functions, what each returns in five languages, and their source, in which `{f}`, `{xs}`, `{x}` and `{t}`
are names to be drawn.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache

from tramontane.training.generators.families import read_lists
from tramontane.training.generators.material import TRAINING_DATA
from tramontane.training.samples import Sample

_REQUESTS = {
    "fr": (
        "Écris une fonction Python qui renvoie {d}.",
        "Une fonction Python `{f}` qui renvoie {d}, merci.",
    ),
    "de": ("Schreib eine Python-Funktion; sie gibt zurück: {d}.", "Eine Python-Funktion `{f}`, Rückgabe: {d}."),
    "es": (
        "Escribe una función de Python que devuelva {d}.",
        "Una función `{f}` que devuelva {d}, por favor.",
    ),
    "it": ("Scrivi una funzione Python che restituisca {d}.", "Una funzione Python `{f}` che restituisca {d}."),
    "en": ("Write a Python function that returns {d}.", "A Python function `{f}` that returns {d}, please."),
}


@dataclass
class Snippet:
    """A function: what it returns, by language, and its source."""

    returns: dict[str, str]
    lines: list[str] = field(default_factory=list)

    def draw(self, rng: random.Random) -> tuple[str, str]:
        """The name that was drawn for the function, and the source."""
        words = _identifiers()
        name = f"{rng.choice(words['verb'])}_{rng.choice(words['noun'])}"
        names = {"f": name, "xs": rng.choice(words["xs"]), "x": rng.choice(words["x"]), "t": rng.choice(words["t"])}
        return name, "\n".join(self.lines).format(**names)


@cache
def _identifiers() -> dict[str, list[str]]:
    return read_lists(TRAINING_DATA / "identifiers.txt")


@cache
def snippets() -> list[Snippet]:
    """All functions."""
    found: list[Snippet] = []
    for line in (TRAINING_DATA / "code.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            found.append(Snippet({"en": line[2:]}))
        elif line[:2] in _REQUESTS and line[2:3] == " ":
            found[-1].returns[line[:2]] = line[3:]
        else:
            found[-1].lines.append(line)
    return found


def code_sample(rng: random.Random, kind: str, language: str) -> Sample:
    """A function on request, in a block of code."""
    snippet = rng.choice(snippets())
    name, source = snippet.draw(rng)
    request = rng.choice(_REQUESTS[language])
    if "{f}" not in request:
        source = source.replace(name, "solve")
    asked = request.format(d=snippet.returns[language], f=name)
    messages = [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": f"```python\n{source}\n```"},
    ]
    return Sample(messages, None, kind, language)


def draw_gap(rng: random.Random) -> tuple[str, str, str]:
    """Code before a gap, in the gap, and after it: a gap is some lines, or a part of one."""
    source = "\n\n\n".join(rng.choice(snippets()).draw(rng)[1] for _ in range(rng.randint(1, 3))) + "\n"
    if rng.random() < 0.5:
        starts = [0, *(i + 1 for i, character in enumerate(source) if character == "\n")]
        first = rng.randrange(len(starts) - 1)
        last = rng.randrange(first + 1, min(first + 4, len(starts)))
        begin, end = starts[first], starts[last]
    else:
        begin = rng.randrange(len(source) - 1)
        stop = source.find("\n", begin)
        end = rng.randint(begin + 1, max(begin + 1, stop))
    return source[:begin], source[begin:end], source[end:]


def fim_sample(rng: random.Random, kind: str) -> Sample:
    """A gap to fill. Its first message is no message of a chat: it has a `prefix` and a `suffix`, and no role."""
    before, gap, after = draw_gap(rng)
    messages = [{"prefix": before, "suffix": after}, {"role": "assistant", "content": gap}]
    return Sample(messages, None, kind, "code")
