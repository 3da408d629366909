"""What a model said, taken apart: text, thinking and tool calls, told by the ids of its control tokens.

Never by their spelling: "[TOOL_CALLS]" in ordinary tokens is text. The formats, by version of the tokenizer:

    v2         [TOOL_CALLS] [{"name": …, "arguments": {…}}, …]
    v3, v7     [TOOL_CALLS] [{"name": …, "arguments": {…}, "id": …}, …]
    v11        [TOOL_CALLS]name[CALL_ID]id[ARGS]{…}   repeated
    v13, v15   [TOOL_CALLS]name[ARGS]{…}              repeated, and [THINK]…[/THINK]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tramontane.tokenizer.fields import is_function_name
from tramontane.tokenizer.incremental import Control
from tramontane.tokenizer.json_spans import array_spans, object_end, object_spans, string_value
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.tokenizer.tool_call_ids import is_tool_call_id, new_tool_call_id


@dataclass(frozen=True)
class Text:
    """A part of the answer itself."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """A part of the model's reasoning before its answer."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """One whole call. `arguments` is JSON text, as the model wrote it; `id` is nine letters and digits."""

    index: int
    id: str
    name: str
    arguments: str


Part = Text | Thinking | ToolCall


class OutputParser:
    """Consumes the pieces of an IncrementalDecoder; text and thinking come at once, a tool call when it is whole.

    A call that cannot be read comes as Text with what the model wrote between the control tokens, and sets `malformed`;
    so does a control token in a place where it means nothing. Never raises. `in_thinking` is for an answer that begins
    inside thinking (`Rendered.in_thinking`).
    """

    def __init__(self, tokenizer: Tokenizer, *, in_thinking: bool = False) -> None:
        self._tool_calls = tokenizer.control_id("[TOOL_CALLS]")
        self._call_id = tokenizer.control_id("[CALL_ID]")
        self._args = tokenizer.control_id("[ARGS]")
        self._think = tokenizer.control_id("[THINK]")
        self._end_think = tokenizer.control_id("[/THINK]")
        self._ends = (tokenizer.eos_id, tokenizer.bos_id, tokenizer.control_id("<pad>"))
        self._in_thinking = in_thinking
        self._call: _RawCall | None = None
        self._ids: set[str] = set()
        self.num_tool_calls = 0
        self.malformed = False

    def feed(self, pieces: Iterable[str | Control]) -> list[Part]:
        """The parts that the pieces complete."""
        parts: list[Part] = []
        for piece in pieces:
            if isinstance(piece, Control):
                parts += self._control(piece.id)
            elif self._call is not None:
                self._call.add(piece)
            elif piece:
                parts.append(Thinking(piece) if self._in_thinking else Text(piece))
        return parts

    def finish(self, was_cut: bool = False) -> list[Part]:
        """The end of the answer: a call still being written is whole now, or malformed.

        `was_cut`: the answer did not end by itself, so arguments that have not begun are not an empty object.
        """
        call, self._call = self._call, None
        return self._parse(call, was_cut) if call is not None else []

    def _control(self, token_id: int) -> list[Part]:
        if token_id == self._call_id and self._call is not None and self._call.begin_id():
            return []
        if token_id == self._args and self._call is not None and self._call.begin_arguments():
            return []
        parts = self.finish()
        if token_id == self._tool_calls:
            self._call = _RawCall()
            self._in_thinking = False
        elif token_id == self._think and not self._in_thinking:
            self._in_thinking = True
        elif token_id == self._end_think and self._in_thinking:
            self._in_thinking = False
        elif token_id not in self._ends:
            self.malformed = True
        return parts

    def _parse(self, call: _RawCall, was_cut: bool) -> list[Part]:
        found, rest = call.parse(was_cut)
        parts: list[Part] = [self._tool_call(*one) for one in found]
        if rest.strip() or not found:
            # Nothing that the model wrote is lost, but it is no call.
            self.malformed = True
            parts += [Text(rest)] if rest else []
        return parts

    def _tool_call(self, name: str, call_id: str, arguments: str) -> ToolCall:
        if not is_tool_call_id(call_id) or call_id in self._ids:
            call_id = new_tool_call_id()
        self._ids.add(call_id)
        self.num_tool_calls += 1
        return ToolCall(index=self.num_tool_calls - 1, id=call_id, name=name, arguments=arguments)


_Found = list[tuple[str, str, str]]  # (name, id or "", arguments) of each call


class _RawCall:
    """What follows one [TOOL_CALLS], section by section, until another control token or the end."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._id: list[str] | None = None
        self._arguments: list[str] | None = None

    def add(self, text: str) -> None:
        section = self._arguments if self._arguments is not None else self._id if self._id is not None else self._head
        section.append(text)

    def begin_id(self) -> bool:
        """[CALL_ID]; False where none may come."""
        if self._id is not None or self._arguments is not None:
            return False
        self._id = []
        return True

    def begin_arguments(self) -> bool:
        """[ARGS]; False where none may come."""
        if self._arguments is not None:
            return False
        self._arguments = []
        return True

    def parse(self, was_cut: bool = False) -> tuple[_Found, str]:
        """The calls, and what is left: all of it when it is no call.

        Which format it is shows in the sections, not in the version: models are fine-tuned on older ones.
        """
        head, call_id, arguments = ("".join(section or []) for section in (self._head, self._id, self._arguments))
        if self._arguments is None and self._id is None:
            return _parse_list(head)
        name, arguments_or_none = head.strip(), arguments.strip() or ("" if was_cut else "{}")
        end = object_end(arguments_or_none)
        if self._arguments is None or end is None or not is_function_name(name):
            return [], head + call_id + arguments
        return [(name, call_id.strip(), arguments_or_none[:end])], arguments_or_none[end:]


def _parse_list(text: str) -> tuple[_Found, str]:
    """A JSON list of calls as far as it can be read; a list that was cut off keeps the calls that are whole."""
    found: _Found = []
    spans, end = array_spans(text)
    for start, stop in spans:
        call = _parse_object(text[start:stop])
        if call is None:
            return found, text[start:] if found else text
        found.append(call)
    return found, text[end:]


def _parse_object(text: str) -> tuple[str, str, str] | None:
    members = object_spans(text)
    if members is None:
        return None
    name = string_value(members.get("name", ""))
    if name is None or not is_function_name(name):
        return None
    arguments = members.get("arguments", "{}")
    # Some models write the arguments as JSON in a JSON string, as OpenAI's API does, or null for none.
    arguments = "{}" if arguments == "null" else (string_value(arguments) or arguments).strip()
    if object_end(arguments) != len(arguments):
        return None
    return name, string_value(members.get("id", "")) or "", arguments
