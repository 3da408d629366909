"""Ids of any shape become nine letters and digits, always the same ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tramontane.tokenizer.tool_call_ids import is_tool_call_id, new_tool_call_id, rehash_tool_call_id


@given(st.text())
def test_any_id_is_rehashed_to_the_templates_shape_and_stays_there(text: str) -> None:
    rehashed = rehash_tool_call_id(text)
    assert is_tool_call_id(rehashed)
    assert rehash_tool_call_id(text) == rehashed == rehash_tool_call_id(rehashed)


def test_an_id_of_the_right_shape_is_kept() -> None:
    assert rehash_tool_call_id("9v45XkLNV") == "9v45XkLNV"
    assert not any(map(is_tool_call_id, ["9v45XkLNV\n", "9v45XkLN", "9v45XkLNVV", "9v45-kLNV", "９v45XkLNV", ""]))


def test_near_ids_stay_apart() -> None:
    ids = [f"call_{number}" for number in range(20_000)]
    assert len({rehash_tool_call_id(call_id) for call_id in ids}) == len(ids)


def test_new_ids_differ() -> None:
    made = {new_tool_call_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(map(is_tool_call_id, made))
