"""Texts by language, in pieces that are what their files say."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tramontane.errors import TramontaneError
from tramontane.evaluation.texts import texts_in


def _words(count: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdeé", k=rng.randint(1, 9))) for _ in range(count))


def test_pieces_are_short_and_leave_nothing_out(tmp_path: Path) -> None:
    documents = ["\n\n".join(_words(count, count) for count in (30, 700, 5, 90, 2000)), _words(40, 1), "x" * 7000]
    (tmp_path / "fr.txt").write_text("\n\f\n".join(documents))
    (tmp_path / "en.txt").write_text("One.\n\nTwo.\n")
    (tmp_path / "held_out.json").write_text("{}")
    texts = texts_in(tmp_path)
    assert texts.keys() == {"en", "fr"}
    assert texts["en"] == ["One.\n\nTwo."]
    assert max(map(len, texts["fr"])) <= 3000
    assert "".join("".join(texts["fr"]).split()) == "".join("".join(documents).split())
    assert documents[1] in texts["fr"]  # a document shares its piece with no other
    assert len(texts["fr"]) < 14


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("fr.md", b"text", "holds no text: it needs files by language, as fr.txt"),
        ("fr.txt", b" \n\f\n", r"fr\.txt is empty; remove it"),
        ("fr.txt", b"\xff\xff", r"fr\.txt cannot be read as text"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TramontaneError, match=said):
        texts_in(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TramontaneError, match="nowhere holds no text"):
        texts_in(tmp_path / "nowhere")
