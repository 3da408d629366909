"""Small talk within a small model's means: what it is, what it can and cannot do, and what it will not do.

A file has, for each topic, what people say (`q`) and what brise answers (`a`).
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from tramontane.training.generators.material import TRAINING_DATA, Material, training_material
from tramontane.training.generators.template import Template, template
from tramontane.training.samples import Sample

Topics = dict[str, tuple[list[Template], list[Template]]]


def read_talk(path: Path) -> Topics:
    """What is said and what is answered, by topic."""
    topics: Topics = {}
    said: list[Template] = []
    answered: list[Template] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, rest = line.partition(" ")
        if key == "=":
            said, answered = topics[rest] = [], []
        elif line:
            {"q": said, "a": answered}[key].append(template(rest))
    return topics


@cache
def training_talk(language: str) -> Topics:
    """What training talks about."""
    return read_talk(TRAINING_DATA / language / "talk.txt")


def draw_talk(rng: random.Random, material: Material, topics: Topics) -> tuple[str, str, str]:
    """A topic, what is said, and an answer."""
    topic = rng.choice(list(topics))
    said, answered = topics[topic]
    answer = material.fill(rng.choice(answered), rng) if answered else ""
    return topic, material.fill(rng.choice(said), rng), answer


def talk_sample(rng: random.Random, kind: str, language: str) -> Sample:
    """One exchange."""
    _, said, answer = draw_talk(rng, training_material(language), training_talk(language))
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    return Sample(messages, None, kind, language)
