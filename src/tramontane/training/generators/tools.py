"""Requests that a tool answers: the function to call, and its arguments, which stand in the request.

A file of tools has, in each language, the same tools:

    w topic: team meeting | …       words to be copied
    = create_event title:topic date:date time:clock?    a function, its parameters and their kinds; ? is optional
    e unit metre: metres | m        a parameter's value and how the language calls it
    e shown true: visible           of a bool, the values are true and false
    d [Adds|Enters] an appointment… what the function does
    u Note “{title}” on {date}.     a request
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tramontane.training.copying import identifier
from tramontane.training.generators.disguise import Disguise, draw_disguise, telling_stems
from tramontane.training.generators.families import split_entries
from tramontane.training.generators.material import TRAINING_DATA, Material, training_material
from tramontane.training.generators.template import Template, template
from tramontane.training.samples import Sample

_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_RENAMED, _DISGUISED = 0.7, 0.4  # of the samples: there are few tools here, and many in the world
_ALIKE = 0.4  # of the samples that are not disguised: the other tools' names share a word with the right one's
_SCHEMAS: dict[str, dict[str, Any]] = {
    "date": {"type": "string", "format": "date"},
    "clock": {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"},
    "int": {"type": "integer"},
    "bigint": {"type": "integer"},
    "bool": {"type": "boolean"},
    "amount": {"type": "number"},
}


def function_schema(
    name: str, description: str | None, properties: Mapping[str, Any], required: Sequence[str]
) -> dict[str, Any]:
    """A function as a client of the API offers it."""
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
    told = {} if description is None else {"description": description}
    return {"type": "function", "function": {"name": name, **told, "parameters": parameters}}


@dataclass
class Tool:
    """A function in one language: `kinds` by parameter; `values` of enums: the word that the language has for each."""

    name: str
    kinds: dict[str, str]
    required: list[str]
    description: str = ""
    values: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    requests: list[Template] = field(default_factory=list)

    def schema(self) -> dict[str, Any]:
        """As a client of the API offers it."""
        properties = {name: self._property(name, kind) for name, kind in self.kinds.items()}
        return function_schema(self.name, self.description, properties, self.required)

    def _property(self, name: str, kind: str) -> dict[str, Any]:
        if kind == "enum":
            return {"type": "string", "enum": list(self.values[name])}
        return dict(_SCHEMAS.get(kind, {"type": "string"}))


@dataclass(frozen=True)
class Toolbox:
    """The tools of a language, and the words that their requests copy."""

    tools: dict[str, Tool]
    words: dict[str, list[str]]


@dataclass(frozen=True)
class ToolRequest:
    """A request, the tools that are offered, and the one right call."""

    language: str
    request: str
    tools: list[dict[str, Any]]
    name: str
    arguments: dict[str, Any]


def read_tools(path: Path) -> Toolbox:
    """The tools of a file, by name."""
    box, tool = Toolbox({}, {}), None
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, rest = line.partition(" ")
        if key == "w":
            name, _, words = rest.partition(": ")
            box.words[name] = split_entries(words)
        elif key == "=":
            tool = _tool(rest)
            box.tools[tool.name] = tool
        elif tool is not None and key == "e":
            what, _, words = rest.partition(": ")
            parameter, value = what.split()
            tool.values.setdefault(parameter, {})[value] = split_entries(words)
        elif tool is not None and key == "d":
            tool.description = rest
        elif tool is not None and key == "u":
            tool.requests.append(template(rest))
    return box


@cache
def training_tools(language: str) -> Toolbox:
    """The tools that training offers."""
    return read_tools(TRAINING_DATA / language / "tools.txt")


@cache
def _tool_stems(language: str) -> frozenset[str]:
    """The beginnings of the words that tell the tools of training apart."""
    tools = training_tools(language).tools.values()
    return telling_stems([tool.description, *(request.text for request in tool.requests)] for tool in tools)


def draw_request(
    rng: random.Random, material: Material, box: Toolbox, disguise: Disguise | None = None, *, alike: float = 0
) -> ToolRequest:
    """A request for one of one to four tools; with a disguise, in its words, and all tools are described in them.

    `alike` is the share of requests where the other tools are, as far as there are such, like the right one.
    """
    names = rng.sample(list(box.tools), rng.randint(1, min(4, len(box.tools))))
    tool = box.tools[rng.choice(names)]
    if alike and rng.random() < alike:
        names = _names_alike(rng, box, tool.name, len(names))
    spoken: dict[str, str] = {}
    meant: dict[str, Any] = {}

    def value(slot: str) -> str:
        spoken[slot], meant[slot] = _draw_value(rng, material, box, tool, slot)
        return spoken[slot]

    wording = rng.choice(tool.requests)
    request = material.fill(wording if disguise is None else Template(disguise(wording.text)), rng, value)
    arguments = {name: meant[name] for name in tool.kinds if name in meant}
    offered = [box.tools[name].schema() for name in names]
    for other in offered:
        description = template(other["function"]["description"])
        other["function"]["description"] = material.fill(description, rng)
    if disguise is not None:
        for other in offered:
            other["function"]["description"] = disguise(other["function"]["description"])
    elif rng.random() < 0.3:  # clients often say little
        for other in offered:
            del other["function"]["description"]
    return ToolRequest(material.language, request, offered, tool.name, arguments)


def _names_alike(rng: random.Random, box: Toolbox, name: str, count: int) -> list[str]:
    """The name among others, first of all such as share a word with it: `lock_door`, `unlock_door`, `lock_card`."""
    words = set(name.split("_"))
    others = [other for other in box.tools if other != name]
    rng.shuffle(others)
    others.sort(key=lambda other: words.isdisjoint(other.split("_")))
    names = [name, *others[: count - 1]]
    rng.shuffle(names)
    return names


def renamed(rng: random.Random, asked: ToolRequest) -> ToolRequest:
    """The same request to functions of other names, so that names must be read and are not known by heart.

    What a name means must stay to be found: a function that is described may have any name, and so may a parameter
    whose schema tells it from the others; every other one gets a word more.
    """
    functions = [tool["function"] for tool in asked.tools]
    names = _new_names(rng, {one["name"]: "description" in one for one in functions})
    tools, arguments = [], asked.arguments
    for function in functions:
        parameters = function["parameters"]
        schemas = list(parameters["properties"].values())
        inner = _new_names(rng, {name: _is_told(one, schemas) for name, one in parameters["properties"].items()})
        if function["name"] == asked.name:
            arguments = {inner[name]: value for name, value in asked.arguments.items()}
        properties = {inner[name]: one for name, one in parameters["properties"].items()}
        schema = {**parameters, "properties": properties, "required": [inner[one] for one in parameters["required"]]}
        new = {**function, "name": names[function["name"]], "parameters": schema}
        tools.append({"type": "function", "function": new})
    return ToolRequest(asked.language, asked.request, tools, names[asked.name], arguments)


def _is_told(schema: dict[str, Any], schemas: list[dict[str, Any]]) -> bool:
    """Whether the schema alone says which parameter it is; of a true or false it does not say of what."""
    return schema["type"] != "boolean" and schemas.count(schema) == 1


def _new_names(rng: random.Random, names: Mapping[str, bool]) -> dict[str, str]:
    """Each name with a word of no language before or behind it; where it may be anything, often such words alone."""
    chosen: dict[str, str] = {}
    for name, anything in names.items():
        while name not in chosen or len(set(chosen.values())) < len(chosen):
            invented, other = identifier(rng), identifier(rng)
            if anything and rng.random() < 0.5:
                chosen[name] = rng.choice((invented, f"{invented}_{other}"))
            else:
                chosen[name] = rng.choice((f"{name}_{invented}", f"{invented}_{name}"))
    return chosen


def tool_sample(rng: random.Random, kind: str, language: str) -> Sample:
    """A request and the call that answers it."""
    disguise = draw_disguise(rng, _tool_stems(language)) if rng.random() < _DISGUISED else None
    alike = _ALIKE if disguise is None else 0  # what tells them apart may be disguised
    asked = draw_request(rng, training_material(language), training_tools(language), disguise, alike=alike)
    if rng.random() < _RENAMED:
        asked = renamed(rng, asked)
    return call_sample(rng, asked, kind)


def call_sample(rng: random.Random, asked: ToolRequest, kind: str) -> Sample:
    """The request as a conversation that the call ends."""
    call = {
        "id": "".join(rng.choice(_ID_LETTERS) for _ in range(9)),
        "type": "function",
        "function": {"name": asked.name, "arguments": json.dumps(asked.arguments, ensure_ascii=False)},
    }
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": asked.request},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    return Sample(messages, asked.tools, kind, asked.language)


def _tool(header: str) -> Tool:
    name, *parameters = header.split()
    kinds: dict[str, str] = {}
    required = []
    for parameter in parameters:
        parameter_name, _, kind = parameter.partition(":")
        kinds[parameter_name] = kind.rstrip("?")
        if not kind.endswith("?"):
            required.append(parameter_name)
    return Tool(name, kinds, required)


def _draw_value(rng: random.Random, material: Material, box: Toolbox, tool: Tool, slot: str) -> tuple[str, Any]:
    """How the request says the value, and the value."""
    kind = tool.kinds[slot]
    if kind in ("enum", "bool"):
        value = rng.choice(list(tool.values[slot]))
        return rng.choice(tool.values[slot][value]), value if kind == "enum" else value == "true"
    if kind == "date":
        return draw_date(rng, material)
    if kind == "clock":
        return _clock(rng, material.language)
    if kind == "int":
        number = rng.randrange(2, 30)
        return str(number), number
    if kind == "bigint":
        number = rng.randrange(30, 300) if rng.random() < 0.5 else rng.randrange(300, 6000)
        return str(number), number
    if kind == "amount":
        return _amount(rng, material.language)
    copied = box.words.get(kind)
    text = material.fill(template(rng.choice(copied)), rng) if copied else material.values.draw(kind, rng)
    return text, text


def draw_date(rng: random.Random, material: Material) -> tuple[str, str]:
    """A day of the calendar as the language writes it, or as ISO 8601 does."""
    year, month, day = rng.randrange(2025, 2032), rng.randrange(1, 13), rng.randrange(1, 29)
    iso = f"{year}-{month:02}-{day:02}"
    name = material.words["month"][month - 1]
    spoken = {
        "fr": f"{'1er' if day == 1 else day} {name} {year}",
        "de": f"{day}. {name} {year}",
        "es": f"{day} de {name} de {year}",
        "it": f"{'1º' if day == 1 else day} {name} {year}",
        "en": f"{day} {name} {year}",
    }[material.language]
    return (iso if rng.random() < 0.15 else spoken), iso


def _clock(rng: random.Random, language: str) -> tuple[str, str]:
    hour, minute = rng.randrange(7, 22), rng.choice((0, 15, 30, 45))
    spoken = {
        "fr": f"{hour} h {minute:02}" if minute else f"{hour} h",
        "de": f"{hour}.{minute:02} Uhr" if minute else f"{hour} Uhr",
        "it": f"{hour}.{minute:02}",
    }.get(language, f"{hour}:{minute:02}")
    return spoken, f"{hour:02}:{minute:02}"


def _amount(rng: random.Random, language: str) -> tuple[str, float | int]:
    if rng.random() < 0.5:
        whole = rng.randrange(5, 1000)
        return str(whole), whole
    cents = rng.randrange(500, 99_999)
    text = f"{cents // 100}.{cents % 100:02}"
    return (text if language == "en" else text.replace(".", ",")), cents / 100
