"""Functions that are described in invented words; a request has some of one description's words, and calls that one.

All that can be learnt here is to find a description by some of its words, and from it the name that stands before.
"""

from __future__ import annotations

import random

from tramontane.training.copying import identifier, some_of, words_apart
from tramontane.training.generators.tools import ToolRequest, call_sample, function_schema
from tramontane.training.samples import Sample


def which_tool_sample(rng: random.Random, kind: str) -> Sample:
    """Functions without parameters, and some of the words of one description, among others: its call."""
    *described, before, behind = words_apart(rng, rng.randint(4, 8), 1, 6)
    taken = {word.lower() for words in (*described, before, behind) for word in words}
    functions: dict[str, list[str]] = {}
    for words in described:
        name = identifier(rng)
        while name in taken:
            name = identifier(rng)
        taken.add(name)
        functions[name] = words
    asked = rng.choice(list(functions))
    request = " ".join((*before[:2], some_of(rng, functions[asked]), *behind[:2]))
    offered = [function_schema(name, " ".join(words), {}, []) for name, words in functions.items()]
    return call_sample(rng, ToolRequest("none", request, offered, asked, {}), kind)
