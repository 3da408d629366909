"""Invented words stand in for the templates' own everywhere alike, and what is asked stays to be found."""

from __future__ import annotations

import json
import random
import re

import jsonschema
import pytest

from tramontane.engine.quotes import REFUSALS
from tramontane.tokenizer.documents import parse_documents
from tramontane.training.generators import quotes
from tramontane.training.generators.disguise import draw_disguise, family_stems
from tramontane.training.generators.material import LANGUAGES, training_material
from tramontane.training.generators.quotes import FULL, quote_sample
from tramontane.training.generators.tools import draw_request, renamed, training_tools


def test_forms_of_a_word_stay_forms_of_one_word() -> None:
    for seed in range(20):
        disguise = draw_disguise(random.Random(seed), {"invoi"})
        one, many, capital = (disguise(text) for text in ("invoice", "invoices", "Invoice"))
        assert many == f"{one}s"
        assert capital == one.capitalize()
        assert disguise("what an invoice is") == f"what an {one} is"


def test_slots_stay() -> None:
    assert draw_disguise(random.Random(1), {"perso"})("Ask {person}, [a person|nobody].").startswith("Ask {person}, [")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_value_is_known_by_is_no_word_that_is_replaced(language: str) -> None:
    months = {month[:5].lower() for month in training_material(language).words["month"]}
    assert len(family_stems(language)) > 500
    assert not months & family_stems(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_still_stand_in_their_documents(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotes, "_DISGUISED", 1.0)
    asked = found = 0
    for seed in range(60):
        messages = quote_sample(random.Random(seed), "quote", language, FULL).messages
        documents, _ = parse_documents(messages[0]["content"])
        for message in messages[1::2]:
            if message["content"] in REFUSALS.values():
                continue
            span, number = re.fullmatch(r"\W(.*)\W \[(\d+)\]", message["content"], re.DOTALL).groups()  # type: ignore[union-attr]
            asked += 1
            text = documents[int(number) - 1].text
            found += " ".join(span.split()) in " ".join(text.split())
    assert asked > 100
    assert found > 0.98 * asked  # a title may hold the answer too


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_call_of_renamed_functions_follows_their_schemas(language: str) -> None:
    kept = 0
    for seed in range(100):
        rng = random.Random(seed)
        plain = draw_request(rng, training_material(language), training_tools(language))
        asked = renamed(rng, plain)
        names = [tool["function"]["name"] for tool in asked.tools]
        assert len(set(names)) == len(plain.tools)
        assert all(re.fullmatch(r"[a-zA-Z0-9_]+", name) for name in names)
        parameters = asked.tools[names.index(asked.name)]["function"]["parameters"]
        jsonschema.validate(asked.arguments, parameters)
        assert list(asked.arguments.values()) == list(plain.arguments.values())
        kept += json.dumps(asked.arguments) == json.dumps(plain.arguments)
    assert kept == 0
