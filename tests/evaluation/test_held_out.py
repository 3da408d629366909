"""Held-out sets: nothing that training has, in forms that the grammar knows."""

from __future__ import annotations

import collections
import random

import pytest

from tramontane.engine.quotes import Quotes, parse_quotes
from tramontane.evaluation.held_out import DATA, draw_questions, held_out_material, item_question, read_items
from tramontane.training.generators.families import Family, read_lists
from tramontane.training.generators.material import LANGUAGES, TRAINING_DATA, training_material
from tramontane.training.generators.names import SYLLABLES
from tramontane.training.generators.quotes import SHORT, abstaining, draw_question
from tramontane.training.generators.small_talk import read_talk
from tramontane.training.generators.tools import read_tools


def templates(family: Family) -> set[str]:
    lists = [family.titles, family.openings, family.joint_sentences, family.rows, family.fillers]
    for attribute in family.attributes.values():
        lists += [attribute.labels, attribute.facts, attribute.near_questions, attribute.far_questions]
    return {template.text for one in lists for template in one}


@pytest.mark.parametrize("language", LANGUAGES)
def test_templates_and_syllables_are_disjoint_from_training(language: str) -> None:
    trained, held_out = training_material(language), held_out_material(language)
    assert not set(trained.families) & set(held_out.families)
    assert not set().union(*map(templates, trained.families.values())) & set().union(
        *map(templates, held_out.families.values())
    )
    ours, theirs = (read_lists(folder / language / "names.txt") for folder in (DATA, TRAINING_DATA))
    for syllables in SYLLABLES:
        assert not set(ours[syllables]) & set(theirs[syllables]), syllables
    ours, theirs = (read_lists(folder / language / "arithmetic.txt") for folder in (DATA, TRAINING_DATA))
    for operation in ours:
        assert not set(ours[operation]) & set(theirs[operation])
    mine, others = (read_tools(folder / language / "tools.txt") for folder in (DATA, TRAINING_DATA))
    assert not set(mine.tools) & set(others.tools)
    said, known = (read_talk(folder / language / "talk.txt") for folder in (DATA, TRAINING_DATA))
    for topic, (asked, _) in said.items():
        assert not {template.text for template in asked} & {template.text for template in known[topic][0]}


def test_names_do_not_meet() -> None:
    for language in LANGUAGES:
        rng = random.Random(1)
        trained = {training_material(language).names.surname(rng) for _ in range(20_000)}
        held_out = {held_out_material(language).names.surname(rng) for _ in range(2_000)}
        assert not trained & held_out
        assert len(trained) > 8_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_questions_are_right(language: str) -> None:
    rng = random.Random(language)
    for difficulty in (SHORT, abstaining(SHORT)):
        for _ in range(150):
            asked = draw_question(rng, language, difficulty, held_out_material)
            spans = parse_quotes(asked.answer, Quotes(tuple(document.text for document in asked.documents)))
            assert [span.document for span in spans] == ([] if asked.number is None else [asked.number])


def test_forty_items_by_hand_and_their_answers_stand_where_they_say() -> None:
    items = [(language, item) for language in LANGUAGES for item in read_items(language)]
    assert len(items) == 40
    assert len({item["id"] for _, item in items}) == 40
    assert sum(item["answer"] is None for _, item in items) == 8
    for language, item in items:
        assert 2 <= len(item["documents"]) <= 6
        asked = item_question(language, item)
        quotes = Quotes(tuple(item["documents"]))
        for span in (item["answer"], *item.get("also", ())):
            if span is not None:
                (found,) = parse_quotes(asked.with_span(span).answer, quotes)
                assert found.document == item["document"], item["id"]


def test_the_same_seed_asks_the_same() -> None:
    first, again, other = (list(draw_questions(2, seed, [(2, 4)])) for seed in (1, 1, 2))
    assert [q.messages for q in first] == [q.messages for q in again]
    assert [q.messages for q in first] != [q.messages for q in other]
    tasks = collections.Counter(question.task for question in first)
    assert tasks == {"2-4 documents": 20, "tools": 10, "arithmetic": 10, "talk": 5, "real documents": 40}
