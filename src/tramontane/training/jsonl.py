"""Samples that people bring: a JSONL file, one object a line, each a text or a conversation.

    {"text": "learnt whole"}
    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…", "weight": 0.5}], "tools": […]}

Messages and tools are as clients send them to the API; the last message is the assistant's, and `weight`, which
assistants' messages may have, is what their tokens count (0: not learnt). What is none of this is refused by its line.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tramontane.training.errors import SampleError, SourceError
from tramontane.training.samples import Sample

LONGEST = 16 << 20
"""Bytes of a line: more is no line but a file of another kind."""

_MESSAGE_KEYS = (
    *("role", "content", "tool_calls", "tool_call_id", "name", "weight", "prefix"),
    *("reasoning_content", "reasoning"),
)


@dataclass(frozen=True)
class RawLine:
    """A line as it stands in its file: the byte where it begins, and its number from 1."""

    start: int
    number: int
    content: bytes


def raw_lines(path: Path) -> Iterator[RawLine]:
    """Every line in turn. Raises SourceError when the file cannot be read, SampleError for a line that is too long."""
    try:
        with path.open("rb") as file:
            start = 0
            for number in itertools.count(1):
                content = file.readline(LONGEST + 1)
                if not content:
                    return
                if len(content) > LONGEST:
                    raise SampleError(
                        f"{path}, line {number}: it has more than {LONGEST >> 20} MiB; write one sample a line."
                    )
                yield RawLine(start, number, content)
                start += len(content)
    except OSError as error:
        raise SourceError(f"The data file {path} cannot be read ({error.strerror}).") from error


def line_at(path: Path, start: int) -> bytes:
    """The line that begins at a byte. Raises SourceError when the file cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.readline(LONGEST)
    except OSError as error:
        raise SourceError(f"The data file {path} cannot be read ({error.strerror}).") from error


def read_sample(content: bytes, where: str, kind: str, language: str) -> Sample | None:
    """A line's sample; None for an empty line. Raises SampleError that begins with `where`, the file and the line."""
    if not content.strip():
        return None
    data = _object(content, where)
    known = ("text",) if "text" in data else ("messages", "tools")
    for key in data:
        if key not in known:
            raise SampleError(f"{where}: {key!r} is not a key that lines have beside {known[0]!r}; leave it out.")
    if "text" in data:
        if not isinstance(data["text"], str) or not data["text"].strip():
            raise SampleError(f"{where}: its text must be a text that is not empty.")
        return Sample([{"text": data["text"]}], None, kind, language)
    messages, tools = data.get("messages"), data.get("tools")
    if not isinstance(messages, list) or not messages:
        raise SampleError(f"{where}: it has neither a text nor a list of messages.")
    if tools is not None and not _is_objects(tools):
        raise SampleError(f"{where}: its tools must be a list of objects.")
    for number, message in enumerate(messages):
        _check_message(message, f"{where}: messages.{number}")
    return Sample(messages, tools or None, kind, language)


def _object(content: bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SampleError(f"{where}: it is not UTF-8; save the file in that encoding.") from None
    except json.JSONDecodeError as error:
        raise SampleError(f"{where}: it is not JSON ({error.msg} at character {error.colno}).") from error
    except (RecursionError, ValueError) as error:
        raise SampleError(f"{where}: it is not JSON that can be read ({error}).") from error
    if not isinstance(data, dict):
        raise SampleError(f"{where}: it must be an object with a text or messages.")
    return data


def _check_message(message: Any, where: str) -> None:
    """The shape alone: what the message says, the template judges."""
    if not isinstance(message, dict):
        raise SampleError(f"{where} must be an object with a role and content.")
    for key in message:
        if key not in _MESSAGE_KEYS:
            raise SampleError(f"{where}.{key} is not a key that messages have; known are {', '.join(_MESSAGE_KEYS)}.")
    calls = message.get("tool_calls")
    if calls is not None and not (_is_objects(calls) and all(isinstance(call.get("function"), dict) for call in calls)):
        raise SampleError(f"{where}.tool_calls must be a list of objects, each with a function.")
    if "weight" not in message:
        return
    weight = message["weight"]
    if type(weight) not in (int, float) or not 0 <= weight < math.inf:
        raise SampleError(f"{where}.weight must be a number of at least 0.")
    if message.get("role") != "assistant":
        raise SampleError(f"{where}.weight is of a message that is not the assistant's, which is never learnt.")


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
