"""A request's tools are read as clients write them, or refused by field."""

from __future__ import annotations

from typing import Any

import pytest

from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.tools import read_tools


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


def test_missing_parts_and_unknown_fields_are_forgiven() -> None:
    (tool,) = read_tools([{"function": {"name": "f", "parameters": None, "description": None, "strict": None}, "x": 1}])
    assert (tool.function.name, tool.function.parameters, tool.function.description) == ("f", {}, "")


@pytest.mark.parametrize(
    ("tool", "field"),
    [
        ("f", "tools.0.type"),
        ({"type": "web_search"}, "tools.0.type"),
        ({"type": "function"}, "tools.0.function"),
        ({"function": {"parameters": {}}}, "tools.0.function.name"),
        ({"function": {"name": "a.b"}}, "tools.0.function.name"),
        ({"function": {"name": "f", "description": 5}}, "tools.0.function.description"),
        ({"function": {"name": "f", "parameters": [1]}}, "tools.0.function.parameters"),
        ({"function": {"name": "f", "parameters": {"type": "strnig"}}}, "tools.0.function.parameters"),
        ({"function": {"name": "f", "parameters": {"title": "\ud800"}}}, "tools.0.function.parameters"),
        ({"function": {"name": "f", "parameters": deep(5000)}}, "tools.0.function.parameters"),
    ],
)
def test_wrong_tools_are_refused_by_field(tool: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_tools([tool])
    assert refused.value.field == field
