"""Families of documents: contracts, minutes, price lists…, read from files of templates.

    = contract firm            a family, and what identifies a document of it; `rows`: one identity in each
                               row; `signed`: the one that it is about signs it
    t Contract with {e}        a title
    o This contract binds {e}  an opening, which names the identity
    @ fee money                an attribute and the kind of its values
    l Annual fee               a label, for lists
    f The fee is {v}.          a sentence that tells the value; it may name the identity, {e}, and values that do not
                               answer: "It was {money} and is now {v}."
    q What is the fee of {e}?  a question, near the words of the sentence
    p How much costs {e}?      a question in other words
    s From {start} on {fee} is due.  a sentence that tells several attributes by their names
    r {e}: {fee}               a row, which tells some attributes by their names
    x Invoices are payable.    a sentence that tells nothing

All languages have the same families and attributes, so that a question may come in another language.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tramontane.training.generators.template import Template, template


@dataclass
class Attribute:
    """Something that documents of a family tell of what they are about."""

    name: str
    kind: str
    labels: list[Template] = field(default_factory=list)
    facts: list[Template] = field(default_factory=list)
    near_questions: list[Template] = field(default_factory=list)
    far_questions: list[Template] = field(default_factory=list)


@dataclass
class Family:
    """One kind of document in one language."""

    name: str
    identity: str  # the kind of value that tells its documents apart
    in_rows: bool = False
    signed: bool = False  # the one it is about signs it
    titles: list[Template] = field(default_factory=list)
    openings: list[Template] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    joint_sentences: list[Template] = field(default_factory=list)
    rows: list[Template] = field(default_factory=list)
    fillers: list[Template] = field(default_factory=list)

    @cached_property
    def identifying_titles(self) -> list[Template]:
        """The titles that name what the document is about."""
        return [title for title in self.titles if "e" in title.slots]

    def rows_with(self, attribute: str) -> list[Template]:
        """The rows that tell the attribute."""
        return [row for row in self.rows if attribute in row.slots]

    def rows_without(self, attribute: str) -> list[Template]:
        """The rows that do not."""
        return [row for row in self.rows if attribute not in row.slots]


def read_families(path: Path) -> dict[str, Family]:
    """The families of a file, by name; ValueError with the line of what is wrong."""
    families: dict[str, Family] = {}
    family = attribute = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        key, _, rest = line.partition(" ")
        if key == "=":
            name, identity, *flags = rest.split()
            family = families[name] = Family(name, identity, "rows" in flags, "signed" in flags)
        elif family is not None and key == "@":
            name, kind = rest.split()
            attribute = family.attributes[name] = Attribute(name, kind)
        elif family is None or not _keep(family, attribute, key, rest):
            raise ValueError(f"{path}, line {number}: {line!r} has no place here")
    return families


def read_lists(path: Path) -> dict[str, list[str]]:
    """Lists of `name: one | two | …`; a list without bars outside of brackets is split at blanks."""
    lists = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(": ")
        entries = split_entries(rest)
        lists[name] = rest.split() if len(entries) == 1 and "[" not in rest else entries
    return lists


def split_entries(text: str) -> list[str]:
    """The entries between ` | `; bars inside brackets are choices."""
    entries, depth, current = [], 0, ""
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "|" and depth == 0:
            entries.append(current.strip())
            current = ""
        else:
            current += character
    return [*entries, current.strip()]


def _keep(family: Family, attribute: Attribute | None, key: str, text: str) -> bool:
    """Puts a line where it belongs; whether there is such a place."""
    places = {
        "t": family.titles,
        "o": family.openings,
        "s": family.joint_sentences,
        "r": family.rows,
        "x": family.fillers,
    }
    if attribute is not None:
        places |= {
            "l": attribute.labels,
            "f": attribute.facts,
            "q": attribute.near_questions,
            "p": attribute.far_questions,
        }
    if key not in places:
        return False
    places[key].append(template(text))
    return True
