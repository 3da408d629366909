"""Tools of a verb and an object: the same ones in every language, each request telling which."""

from __future__ import annotations

import json
import random

import pytest

from tramontane.evaluation.held_out import DATA
from tramontane.training.generators import GENERATORS
from tramontane.training.generators.actions import (
    Action,
    Actions,
    Group,
    Thing,
    Verb,
    ask,
    draw_action,
    training_actions,
)
from tramontane.training.generators.material import LANGUAGES, training_material
from tramontane.training.generators.tools import read_tools


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_actions(language: str) -> None:
    actions, english = training_actions(language), training_actions("en")
    assert names_of(actions) == names_of(english)
    assert len(set(names_of(actions))) == len(names_of(actions)) > 800
    assert list(actions.details) == list(english.details)
    for detail, ways in actions.details.items():
        assert all(way.count(f"{{{detail}}}") == 1 for way in ways)


@pytest.mark.parametrize("language", LANGUAGES)
def test_phrases_have_one_place_for_the_thing_and_frames_one_for_the_phrase(language: str) -> None:
    actions = training_actions(language)
    for phrase in _phrases(actions):
        assert phrase.count("{o}") == 1, phrase
        assert phrase.count(" {d}") == phrase.count("{d}") <= 1, phrase
        assert phrase.strip() == phrase
    for frame in (*actions.around_imperatives, *actions.around_infinitives):
        assert frame.lower().count("{v}") == 1, frame


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_verb_is_called_is_said_of_no_other(language: str) -> None:
    """Else a request could mean either of two tools that are offered together."""
    for group in training_actions(language).groups:
        said: dict[str, str] = {}
        for verb in group.verbs:
            for phrase in {*verb.imperatives, *verb.infinitives, *verb.descriptions}:
                assert said.setdefault(phrase.lower(), verb.name) == verb.name, phrase
        objects = [thing.indefinite for thing in group.things]
        assert len(set(objects)) == len(objects)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_call_is_one_of_the_tools_and_its_arguments_stand_in_the_request(language: str) -> None:
    for seed in range(200):
        asked = draw_action(random.Random(seed), training_material(language), training_actions(language))
        [tool] = [one["function"] for one in asked.tools if one["function"]["name"] == asked.name]
        assert list(asked.arguments) == list(tool["parameters"]["properties"]) == tool["parameters"]["required"]
        assert 2 <= len(asked.tools) <= 5
        assert len({one["function"]["name"] for one in asked.tools}) == len(asked.tools)
        for name, value in asked.arguments.items():
            assert name == "date" or value in asked.request
        assert "{" not in asked.request


def test_details_stand_behind_the_object_or_where_a_phrase_wants_them() -> None:
    actions = Actions(
        [Group([Verb("wake", ["wake {o} up {d}"], ["rouse {o}"], ["Wakes {o}."])], [Thing("x", "an x", "the x")])],
        ["{V}!"], ["Now {v}?"], {"id": ["no. {id}"], "place": ["in {place}"]},
    )  # fmt: skip
    action, requests = Action(actions.groups[0].verbs[0], actions.groups[0].things[0], ("place", "id")), set()
    for seed in range(40):
        request, told = ask(random.Random(seed), training_material("en"), actions, action)
        requests.add(request.replace(told["id"], "7").replace(told["place"], "Y"))
    assert requests == {"Wake the x no. 7 up in Y!", "Now rouse the x no. 7 in Y?"}


def test_held_out_tools_are_none_of_them() -> None:
    held_out = {name for language in LANGUAGES for name in read_tools(DATA / language / "tools.txt").tools}
    assert held_out.isdisjoint(names_of(training_actions("en")))


def test_the_tools_beside_the_right_one_often_share_its_verb_or_its_thing() -> None:
    alike = 0
    for seed in range(300):
        asked = draw_action(random.Random(seed), training_material("en"), training_actions("en"))
        verb, thing = _parts(asked.name)
        others = [_parts(one["function"]["name"]) for one in asked.tools if one["function"]["name"] != asked.name]
        alike += any(verb == other or thing == object_ for other, object_ in others)
    assert alike > 150


def test_a_sample_is_the_request_and_its_call() -> None:
    sample = GENERATORS["actions-de"](random.Random(3))
    assert sample.language == "de"
    [call] = sample.messages[-1]["tool_calls"]
    assert call["function"]["name"] in {one["function"]["name"] for one in sample.tools or []}
    json.loads(call["function"]["arguments"])


def names_of(actions: Actions) -> list[str]:
    return [f"{verb.name}_{thing.name}" for group in actions.groups for verb in group.verbs for thing in group.things]


def _phrases(actions: Actions) -> list[str]:
    verbs = [verb for group in actions.groups for verb in group.verbs]
    return [phrase for verb in verbs for phrase in (*verb.imperatives, *verb.infinitives, *verb.descriptions)]


def _parts(name: str) -> tuple[str, str]:
    verbs = [verb.name for group in training_actions("en").groups for verb in group.verbs]
    verb = max((one for one in verbs if name.startswith(f"{one}_")), key=len)
    return verb, name.removeprefix(f"{verb}_")
