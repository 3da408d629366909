"""Messages as clients send them, short to write."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def assistant(content: Any = None, **fields: Any) -> Json:
    return {"role": "assistant", "content": content, **fields}


def call(call_id: Any, arguments: Any = '{"city": "Nîmes"}', name: str = "get_weather") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: Any, content: Any = '{"celsius": 21}') -> Json:
    return {"role": "tool", "tool_call_id": call_id, "name": "get_weather", "content": content}
