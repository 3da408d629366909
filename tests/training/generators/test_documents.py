"""Documents of a family: sentences that tell several things, and values that do not answer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tramontane.training.generators.documents import Drawn, Wish, draw_document
from tramontane.training.generators.families import Family, read_families
from tramontane.training.generators.material import load_material, training_material

FAMILY = """
= visit person
t A visit
o {e} came to see us.
s On {day} {e} met {host} at the door.
x The sun shone.
@ day date
l Day
f It was on {v} and not, as {e} had said, on {date}.
q On which day did {e} come?
p When was {e} here?
@ host person
l Host
f It was {v} who opened, and {person} who closed.
q Who met {e}?
p By whom was {e} met?
@ gift word:gift
l Gift
f Of all things it was {v}.
q What did {e} bring?
p Which gift came with {e}?
"""


@pytest.fixture
def family(tmp_path: Path) -> Family:
    (tmp_path / "families.txt").write_text(FAMILY)
    return read_families(tmp_path / "families.txt")["visit"]


def draws(family: Family, wish: Wish) -> list[Drawn]:
    rng, material = random.Random(1), training_material("en")
    return [draw_document(rng, material, family, wish, lambda: "Ada Quell") for _ in range(300)]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_sentence_that_tells_several_things_stands_once(family: Family) -> None:
    joint = [one for one in draws(family, Wish(3)) if "at the door" in one.document.text]
    assert len(joint) > 50
    for drawn in joint:
        values, sentences = drawn.entries[0].values, drawn.entries[0].sentences
        told = f"On {values['day']} Ada Quell met {values['host']} at the door."
        assert flat(drawn.document.text).count(told) == 1
        assert sentences.get("day", told) == sentences.get("host", told) == told


def test_what_must_not_be_told_is_in_no_sentence(family: Family) -> None:
    for drawn in draws(family, Wish(3, without="host")):
        assert "host" not in drawn.entries[0].values
        assert "at the door" not in drawn.document.text


def test_what_must_be_told_is_told_beside_it(family: Family) -> None:
    assert all("gift" in drawn.entries[0].values for drawn in draws(family, Wish(1, must="gift")))


def test_values_that_do_not_answer_stand_beside_the_one_that_does(family: Family) -> None:
    texts = [flat(drawn.document.text) for drawn in draws(family, Wish(2, must="day"))]
    both = [text for text in texts if "and not, as Ada Quell had said, on" in text]
    assert len(both) > 50
    values = [text.split("It was on ")[1].split(" and not")[0] for text in both]
    others = [text.split("had said, on ")[1].split(".")[0] for text in both]
    assert sum(value != other for value, other in zip(values, others, strict=True)) > 45


def test_a_family_in_two_files_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "en"
    for name in ("families", "words"):
        (place / name).mkdir(parents=True)
    (place / "names.txt").write_text("first: Ada Bo")
    for name in ("one.txt", "two.txt"):
        (place / "families" / name).write_text(FAMILY)
    with pytest.raises(ValueError, match=r"two\.txt has 'visit' once more"):
        load_material(tmp_path, "en")
