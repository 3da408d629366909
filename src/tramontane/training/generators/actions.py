"""Requests for tools that are made of a verb and an object: `cancel_invoice`, `cancel_flight`, `sign_invoice`.

Tools that are written one by one are few enough to be known by heart. These are some eight hundred in each language,
and those that are offered beside the right one share its verb or its object, so that both have to be read.

A file of actions has, in each language, the same verbs and objects:

    g papers                                        a group: each of its verbs goes with each of its objects
    v sign = sign {o} | … = sign {o} | … = Signs {o}. | …     imperatives, infinitives, descriptions; a request's
                                                    details stand behind the object, or at {d}: turn {o} on {d}
    o invoice = an invoice = the invoice
    i Please {v}. | {V}.                            what stands around an imperative; {V} begins with a capital
    f Could you {v}?                                what stands around an infinitive
    p date = on {date} | for {date}                 what a request tells besides, and how
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tramontane.training.generators.disguise import Disguise, draw_disguise, telling_stems
from tramontane.training.generators.material import TRAINING_DATA, Material, training_material
from tramontane.training.generators.template import Template
from tramontane.training.generators.tools import ToolRequest, call_sample, draw_date, function_schema, renamed
from tramontane.training.samples import Sample

_MOST_TOOLS = 5
_ALIKE = 0.6  # of the requests: the other tools have the right one's verb or object
_UNTOLD = 0.25  # of the requests whose tools are not disguised: there is no description
_RENAMED, _DISGUISED = 0.3, 0.3  # of the samples
_DETAILS = (0, 1, 1, 2)  # how many a tool has as parameters
_SCHEMAS: dict[str, dict[str, Any]] = {"date": {"type": "string", "format": "date"}}


@dataclass(frozen=True)
class Verb:
    """What is done; `{o}` is what it is done to."""

    name: str
    imperatives: list[str]
    infinitives: list[str]
    descriptions: list[str]


@dataclass(frozen=True)
class Thing:
    """What something is done to, as a direct object."""

    name: str
    indefinite: str
    definite: str


@dataclass
class Group:
    """Verbs that go with the same things."""

    verbs: list[Verb] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)


@dataclass
class Actions:
    """A language's verbs and things, and how requests are made of them."""

    groups: list[Group] = field(default_factory=list)
    around_imperatives: list[str] = field(default_factory=list)
    around_infinitives: list[str] = field(default_factory=list)
    details: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """A tool: a verb, a thing, and what it has to be told besides."""

    verb: Verb
    thing: Thing
    details: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The function's."""
        return f"{self.verb.name}_{self.thing.name}"

    def schema(self, description: str | None) -> dict[str, Any]:
        """As a client of the API offers it."""
        properties = {name: _SCHEMAS.get(name, {"type": "string"}) for name in self.details}
        return function_schema(self.name, description, properties, self.details)


def read_actions(path: Path) -> Actions:
    """The actions of a file."""
    actions = Actions()
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, rest = line.partition(" ")
        parts = rest.split(" = ")
        if key == "g":
            actions.groups.append(Group())
        elif key == "v":
            name, *phrases = parts
            imperatives, infinitives, descriptions = (each.split(" | ") for each in phrases)
            actions.groups[-1].verbs.append(Verb(name, imperatives, infinitives, descriptions))
        elif key == "o":
            actions.groups[-1].things.append(Thing(*parts))
        elif key == "i":
            actions.around_imperatives += rest.split(" | ")
        elif key == "f":
            actions.around_infinitives += rest.split(" | ")
        elif key == "p":
            actions.details[parts[0]] = parts[1].split(" | ")
    return actions


@cache
def training_actions(language: str) -> Actions:
    """The actions that training offers."""
    return read_actions(TRAINING_DATA / language / "actions.txt")


@cache
def _stems(language: str) -> frozenset[str]:
    """The beginnings of the words of verbs and things."""
    groups = training_actions(language).groups
    verbs = ([*verb.imperatives, *verb.infinitives, *verb.descriptions] for group in groups for verb in group.verbs)
    things = ([thing.indefinite, thing.definite] for group in groups for thing in group.things)
    return telling_stems([*verbs, *things])


def action_sample(rng: random.Random, kind: str, language: str) -> Sample:
    """A request and the call that answers it."""
    disguise = draw_disguise(rng, _stems(language)) if rng.random() < _DISGUISED else None
    asked = draw_action(rng, training_material(language), training_actions(language), disguise)
    return call_sample(rng, renamed(rng, asked) if rng.random() < _RENAMED else asked, kind)


def draw_action(
    rng: random.Random, material: Material, actions: Actions, disguise: Disguise | None = None
) -> ToolRequest:
    """A request for one of two to five actions; with a disguise, in its words, and all are described in them."""
    group = rng.choice(actions.groups)
    right = Action(rng.choice(group.verbs), rng.choice(group.things), _draw_details(rng, actions))
    others = _draw_others(rng, actions, group, right, disguised=disguise is not None)
    offered = [right, *others]
    rng.shuffle(offered)
    told = disguise is not None or rng.random() >= _UNTOLD
    in_words = disguise or str
    schemas = [one.schema(in_words(_description(rng, one)) if told else None) for one in offered]
    request, arguments = ask(rng, material, actions, right, in_words)
    return ToolRequest(material.language, request, schemas, right.name, arguments)


def _draw_details(rng: random.Random, actions: Actions) -> tuple[str, ...]:
    """What an action has as parameters."""
    return tuple(rng.sample(list(actions.details), rng.choice(_DETAILS)))


def _draw_others(rng: random.Random, actions: Actions, group: Group, right: Action, *, disguised: bool) -> list[Action]:
    """Other actions. Of a disguised verb only its own words are known, so there the thing is always another one."""
    alike, others = rng.random() < _ALIKE, dict[str, Action]()
    count = rng.randint(1, _MOST_TOOLS - 1)
    while len(others) < count:
        whose = group if alike else rng.choice(actions.groups)
        verb, thing = rng.choice(whose.verbs), rng.choice(whose.things)
        if alike and (disguised or rng.random() < 0.5):
            verb = right.verb
        elif alike:
            thing = right.thing
        other = Action(verb, thing, _draw_details(rng, actions))
        if other.name != right.name and not (disguised and thing == right.thing):
            others[other.name] = other
    return list(others.values())


def _description(rng: random.Random, action: Action) -> str:
    """What the function does."""
    return rng.choice(action.verb.descriptions).replace("{o}", action.thing.indefinite)


def ask(
    rng: random.Random, material: Material, actions: Actions, right: Action, in_words: Disguise = str
) -> tuple[str, dict[str, Any]]:
    """The request, and the arguments that it tells."""
    spoken, arguments = dict[str, str](), dict[str, Any]()
    for name in right.details:
        if name == "date":
            spoken[name], arguments[name] = draw_date(rng, material)
        else:
            spoken[name] = arguments[name] = _draw_detail(rng, material, name)
    thing = right.thing.definite if "id" in right.details or rng.random() < 0.5 else right.thing.indefinite
    imperative = rng.random() < 0.5
    phrase = rng.choice(right.verb.imperatives if imperative else right.verb.infinitives)
    frame = rng.choice(actions.around_imperatives if imperative else actions.around_infinitives)
    said = in_words(_framed(frame, _with_details(rng, actions, phrase, thing, right.details)))
    return material.fill(Template(said), rng, lambda slot: spoken[slot]), arguments


def _with_details(rng: random.Random, actions: Actions, phrase: str, thing: str, details: tuple[str, ...]) -> str:
    """The phrase with its object, the object's number right behind it, and the other details in their place."""
    ways = {name: rng.choice(actions.details[name]) for name in details}
    number = f" {ways.pop('id')}" if "id" in ways else ""
    phrase = phrase if "{d}" in phrase else phrase.replace("{o}", "{o} {d}")
    return phrase.replace("{o}", thing + number).replace(" {d}", "".join(f" {way}" for way in ways.values()))


def _draw_detail(rng: random.Random, material: Material, name: str) -> str:
    if name == "id":
        return rng.choice((str(rng.randrange(10, 10_000)), material.values.draw("code", rng)))
    return material.values.draw(name, rng)


def _framed(frame: str, phrase: str) -> str:
    return frame.replace("{v}", phrase).replace("{V}", phrase[0].upper() + phrase[1:])
