"""Templates: text with slots and choices, `The [fee|price] of {e} is {v}.`, filled with words that fit.

A choice takes one of its alternatives, which may be empty and may hold choices and slots of their own. Slots are filled
through the rules of the language, which join a word to what stands before it: `de {e}` becomes `d'Alvane`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import cache

_PIECE = re.compile(r"\[|\]|\||\{\w+\}|[^\[\]|{}]+")

Join = Callable[[str, str], str]
"""Puts a word behind a text, and changes the text where the language asks for it."""


class Template:
    """A text parsed once and filled many times. `text` is what was parsed."""

    __slots__ = ("_nodes", "slots", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = _pieces(text)
        self._nodes = _sequence(pieces)
        self.slots = frozenset(re.findall(r"\{(\w+)\}", text))

    def fill(self, rng: random.Random, value: Callable[[str], str], join: Join) -> str:
        """The text with every choice drawn and every slot filled by `value`."""
        return _fill("", self._nodes, rng, value, join)


_Node = str | tuple[str] | list[list["_Node"]]  # a text, a slot, a choice


@cache
def template(text: str) -> Template:
    """The template of a text; parsed once for all."""
    return Template(text)


def _pieces(text: str) -> list[str]:
    if text.startswith("|"):  # a row of a table, in which bars are bars
        return [piece for part in re.split(r"(\{\w+\})", text) if (piece := part)]
    pieces = _PIECE.findall(text)
    if "".join(pieces) != text:
        raise ValueError(f"not a template: {text!r}")
    return pieces


def _sequence(pieces: list[str]) -> list[_Node]:
    if not pieces:
        return []
    return _parse(iter(pieces), inside=False, table=pieces[0].startswith("|"))[0]


def _parse(pieces: Iterator[str], *, inside: bool, table: bool = False) -> list[list[_Node]]:
    """The alternatives up to the bracket that closes them, or the one text up to the end."""
    alternatives: list[list[_Node]] = [[]]
    for piece in pieces:
        if piece == "[":
            alternatives[-1].append(_parse(pieces, inside=True))
        elif piece == "]" and inside:
            return alternatives
        elif piece == "|" and inside:
            alternatives.append([])
        elif piece in ("|", "]") and not table:
            raise ValueError(f"a {piece!r} outside of brackets")
        elif piece.startswith("{"):
            alternatives[-1].append((piece[1:-1],))
        else:
            alternatives[-1].append(piece)
    if inside:
        raise ValueError("a bracket is not closed")
    return alternatives


def _fill(text: str, nodes: list[_Node], rng: random.Random, value: Callable[[str], str], join: Join) -> str:
    for node in nodes:
        if isinstance(node, str):
            text += node
        elif isinstance(node, tuple):
            text = join(text, value(node[0]))
        else:
            text = _fill(text, node[int(rng.random() * len(node))], rng, value, join)
    return text
