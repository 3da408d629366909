"""Draws documents of a family: what they tell, in which layout, and what is to be found in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from tramontane.tokenizer.documents import Document
from tramontane.training.generators import layouts
from tramontane.training.generators.families import Family
from tramontane.training.generators.material import Material
from tramontane.training.generators.template import Template
from tramontane.training.generators.typography import draw_setting

_JOINT = 0.4  # documents with a sentence that tells several things, where the family has one


@dataclass(frozen=True)
class Entry:
    """What a document tells of one identity: values by attribute, and the sentences that tell them, where they do."""

    identity: str
    values: dict[str, str]
    sentences: dict[str, str]


@dataclass(frozen=True)
class Drawn:
    """A document of a family, and what it tells."""

    family: Family
    document: Document
    entries: list[Entry]


@dataclass(frozen=True)
class Wish:
    """What a document must be like: about how many sentences, with and without which attribute."""

    sentences: int
    must: str | None = None
    without: str | None = None


def draw_document(
    rng: random.Random, material: Material, family: Family, wish: Wish, identity: Callable[[], str]
) -> Drawn:
    """A fresh document; `identity` names what it is about."""
    draw = _draw_rows if family.in_rows else _draw_prose
    return draw(rng, material, family, wish, identity)


def _draw_prose(
    rng: random.Random, material: Material, family: Family, wish: Wish, identity: Callable[[], str]
) -> Drawn:
    who = identity()
    joint = _joint(rng, family, wish)
    together = set() if joint is None else joint.slots - {"e"}
    told = _told(rng, list(family.attributes), wish, rng.randint(1, max(1, wish.sentences)), together)
    values = {name: material.values.draw(family.attributes[name].kind, rng) for name in told}
    title = opening = None
    if rng.random() < 0.6:
        title = rng.choice(family.titles)
    if title is None or "e" not in title.slots or rng.random() < 0.6:
        opening = rng.choice(family.openings)
    setting = draw_setting(material.language, rng)

    def fill(slot: str) -> str:
        return who if slot == "e" else material.values.draw(slot, rng)

    facts = []
    for name in told:
        attribute = family.attributes[name]
        label = material.fill(rng.choice(attribute.labels), rng)
        value = {"v": values[name], "e": who}
        sentence = material.fill(rng.choice(attribute.facts), rng, lambda slot, own=value: own.get(slot) or fill(slot))  # type: ignore[misc]
        facts.append(layouts.Fact(name, label, sentence, values[name]))
    if joint is not None:
        sentence = material.fill(joint, rng, {**values, "e": who}.__getitem__)
        facts = [replace(fact, sentence=sentence) if fact.name in joint.slots else fact for fact in facts]
    num_fillers = max(0, wish.sentences - len(told) - (opening is not None))
    parts = layouts.Parts(
        material,
        material.fill(opening, rng, fill) if opening is not None else None,
        facts,
        fillers(rng, material, family, rng.randint(0, num_fillers)),
        who if family.signed else material.names.person(rng),
    )
    text, whole = layouts.lay_out(rng, parts)
    document = Document(setting(text), setting(material.fill(title, rng, fill)) if title is not None else None)
    sentences = {fact.name: setting(fact.sentence) for fact in facts if fact.name in whole}
    return Drawn(family, document, [Entry(who, {name: setting(value) for name, value in values.items()}, sentences)])


def _draw_rows(
    rng: random.Random, material: Material, family: Family, wish: Wish, identity: Callable[[], str]
) -> Drawn:
    rows = family.rows
    if wish.must is not None:
        rows = family.rows_with(wish.must)
    elif wish.without is not None:
        rows = family.rows_without(wish.without)
    row = rng.choice(rows)
    setting = draw_setting(material.language, rng)
    entries, lines = [], []
    for _ in range(rng.randint(2, max(3, wish.sentences))):
        who = identity()
        values = {
            name: material.values.draw(attribute.kind, rng)
            for name, attribute in family.attributes.items()
            if name in row.slots
        }
        lines.append(setting(material.fill(row, rng, {**values, "e": who}.__getitem__)))
        entries.append(Entry(who, {name: setting(value) for name, value in values.items()}, {}))
    head = material.fill(rng.choice(family.openings), rng) if rng.random() < 0.5 else None
    title = setting(material.fill(rng.choice(family.titles), rng)) if rng.random() < 0.6 else None
    tail = fillers(rng, material, family, 1) if rng.random() < 0.3 else []
    text = "\n".join([*([setting(head)] if head else []), *lines, *map(setting, tail)])
    return Drawn(family, Document(text, title), entries)


def fillers(rng: random.Random, material: Material, family: Family, count: int) -> list[str]:
    """Sentences that tell nothing of any attribute."""
    texts: list[str] = []
    for _ in range(count):
        if family.fillers and rng.random() < 0.5:
            text = material.fill(rng.choice(family.fillers), rng)
        else:
            text = material.phrase("filler", rng)
        if text not in texts:
            texts.append(text)
    return texts


def _joint(rng: random.Random, family: Family, wish: Wish) -> Template | None:
    """Often a sentence that tells several things at once, where the family has one and it has room."""
    if wish.sentences == 1:
        return None
    fitting = [one for one in family.joint_sentences if wish.without not in one.slots]
    return rng.choice(fitting) if fitting and rng.random() < _JOINT else None


def _told(
    rng: random.Random, names: Collection[str], wish: Wish, count: int, together: Collection[str] = ()
) -> list[str]:
    """The attributes that a document tells, in random order: so many, or as many as must be."""
    told = [name for name in names if name in together or name == wish.must]
    others = [name for name in names if name not in told and name != wish.without]
    rng.shuffle(others)
    if not told:
        return others[:count]
    told += others[: max(0, count - len(told))]
    rng.shuffle(told)
    return told
