"""Values of a JSON text are found exactly where they are written, and nothing raises."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tramontane.tokenizer.json_spans import array_spans, object_end, object_spans, string_value

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_indents = st.sampled_from([None, 0, 2, "\t"])


@given(st.lists(_values), _indents, st.text())
def test_elements_of_an_array(values: list[object], indent: int | str | None, tail: str) -> None:
    text = json.dumps(values, indent=indent)
    spans, end = array_spans(" " + text + tail)
    assert [json.dumps(json.loads((" " + text)[start:stop])) for start, stop in spans] == [*map(json.dumps, values)]
    assert end == (1 + len(text) if values else 0)


@given(st.dictionaries(st.text(max_size=8), _values), _indents, st.text())
def test_members_of_an_object(value: dict[str, object], indent: int | str | None, tail: str) -> None:
    text = json.dumps(value, indent=indent)
    members = object_spans(text)
    assert members is not None
    assert {key: json.dumps(json.loads(member)) for key, member in members.items()} == {
        key: json.dumps(member) for key, member in value.items()
    }
    assert object_end(text + tail) == len(text)


@given(st.text() | st.text(alphabet='[]{}",:0 \\n'))
def test_any_text_is_survived(text: str) -> None:
    _, end = array_spans(text)
    assert 0 <= end <= len(text)
    object_spans(text)
    object_end(text)
    string_value(text)


def test_values_stay_as_they_are_written() -> None:
    assert object_spans('{"a": 1.50, "b" : 1e999 ,"c":\n[ 1 ]}') == {"a": "1.50", "b": "1e999", "c": "[ 1 ]"}
    digits = "9" * 10_000
    assert object_spans(f'{{"a": {digits}}}') == {"a": digits}


def test_a_broken_array_keeps_what_is_whole() -> None:
    text = '[{"a": 1}, {"b": 2}, {"c": '
    spans, end = array_spans(text)
    assert [text[start:stop] for start, stop in spans] == ['{"a": 1}', '{"b": 2}']
    assert text[end:] == '{"c": '


def test_deep_nesting_is_no_value() -> None:
    deep = '{"a":' * 100_000
    assert object_end(deep) is None
    assert object_spans(deep + "1" + "}" * 100_000) is None
    assert array_spans("[" * 100_000) == ([], 0)
    assert string_value("[" * 100_000) is None
