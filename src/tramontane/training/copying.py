"""The first lessons: copying what was said, looking up by a key, and back from the value to the key.

What a model cannot copy it cannot quote.

Fresh words each time, so that nothing can be learnt but how to copy; only what is copied is learnt.
"""

from __future__ import annotations

import random
import unicodedata

from tramontane.training.samples import Generator, Sample

# fmt: off
_ONSETS = [
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "ch", "cl", "cr",
    "dr", "fl", "fr", "gl", "gr", "kr", "pl", "pr", "sch", "sp", "st", "tr", "th",
]
_NUCLEI = [*"aeiouaeiouéèäöü", "ai", "au", "ei", "ie", "ou", "ía", "io"]
# fmt: on
_CODAS = ["", "", "", "", "n", "r", "s", "l", "t", "m", "nd", "rt", "st", "ck"]


def word(rng: random.Random) -> str:
    """A word that no language has, as pronounceable as any."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_NUCLEI) + rng.choice(_CODAS) for _ in range(rng.randint(1, 3)))
    made = "".join(syllables)
    return made.capitalize() if rng.random() < 0.4 else made


def identifier(rng: random.Random) -> str:
    """Such a word in the letters that names of functions may have."""
    return unicodedata.normalize("NFD", word(rng).lower()).encode("ascii", "ignore").decode()


def words_apart(rng: random.Random, count: int, least: int, most: int) -> list[list[str]]:
    """So many lists of `least` to `most` words; no word is in two of them."""
    numbers = [rng.randint(least, most) for _ in range(count)]
    words: dict[str, str] = {}
    while len(words) < sum(numbers):
        drawn = word(rng)
        words[drawn.lower()] = drawn
    rest = iter(words.values())
    return [[next(rest) for _ in range(number)] for number in numbers]


def some_of(rng: random.Random, words: list[str]) -> str:
    """One to all of the words, in their order."""
    places = sorted(rng.sample(range(len(words)), rng.randint(1, len(words))))
    return " ".join(words[place] for place in places)


def thing(rng: random.Random) -> str:
    """What may be asked for: a word, two, a number, or a code."""
    match rng.randrange(5):
        case 0:
            return str(rng.randrange(10 ** rng.randint(1, 5)))
        case 1:
            return f"{word(rng)} {word(rng)}"
        case 2:
            return f"{rng.choice('ABCDEFGHKLMNPRSTVWXZ')}{rng.choice('ABCDEFGHKLMNPRSTVWXZ')}-{rng.randrange(1000)}"
        case _:
            return word(rng)


def repeat(rng: random.Random) -> Sample:
    """Words, to be said again."""
    text = " ".join(thing(rng) for _ in range(rng.randint(3, 24)))
    return _sample("repeat", (text, text))


def look_up(rng: random.Random) -> Sample:
    """Lines `key: value` and keys, one after another, for their values."""
    pairs = {word(rng): thing(rng) for _ in range(rng.randint(2, 12))}
    lines = "\n".join(f"{name}: {value}" for name, value in pairs.items())
    first, *others = rng.sample(list(pairs), rng.randint(1, len(pairs)))
    turns = [(f"{lines}\n\n{first}?", pairs[first]), *((f"{key}?", pairs[key]) for key in others)]
    return _sample("look_up", *turns)


def look_back(rng: random.Random) -> Sample:
    """Lines `key: words`, and some of a line's words, one line after another, for their keys.

    What is sought stands before what is known: so it is with the name of a function that is known by its description.
    """
    lines = {name: words for name, *words in words_apart(rng, rng.randint(2, 10), 2, 5)}
    text = "\n".join(f"{name}: {' '.join(words)}" for name, words in lines.items())
    first, *others = ((f"{some_of(rng, words)}?", name) for name, words in rng.sample(list(lines.items()), len(lines)))
    return _sample("look_back", (f"{text}\n\n{first[0]}", first[1]), *others)


def records(rng: random.Random) -> Sample:
    """Documents of one form, each about a name, that tell values by keys; questions by key and name.

    The keys are the same in all of them: both must be found, the document by its name and the place by its key.
    """
    keys = [word(rng) for _ in range(rng.randint(1, 5))]
    apart, end = rng.choice((": ", " = ", " – ", " ")), rng.choice(("\n", "\n", ", ", ". ", "; "))
    asking = rng.choice(("{k}, {n}?", "{n}: {k}?", "{k} {n}?"))
    documents, turns, seen = [], [], set[str]()
    for number in range(1, rng.randint(2, 6)):
        name = f"{word(rng)} {word(rng)}" if rng.random() < 0.5 else word(rng)
        values = {key: thing(rng) for key in rng.sample(keys, rng.randint(1, len(keys)))}
        told = end.join(f"{key}{apart}{value}" for key, value in values.items())
        documents.append(f"[{number}] {name}{rng.choice((chr(10), ' – ', ': '))}{told}")
        turns += [
            (asking.format(k=key, n=name), f"«{value}» [{number}]")
            for key, value in values.items()
            if value not in seen
        ]
        seen.update(values.values())
    first, *others = rng.sample(turns, len(turns))
    return _sample("records", ("\n\n".join([*documents, first[0]]), first[1]), *others)


def _sample(kind: str, *turns: tuple[str, str]) -> Sample:
    messages = []
    for asked, answer in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return Sample(messages, None, kind, "none")


COPYING: dict[str, Generator] = {
    "repeat": repeat,
    "look_up": look_up,
    "look_back": look_back,
    "records": records,
}
"""The kinds that teach copying, by name; their language is "none"."""
