"""Tool calls in the form of each chat template, their arguments under each tool's JSON schema.

| version | form |
|---|---|
| v2 | `[TOOL_CALLS]` + `[{"name": "f", "arguments": {…}}, …]` |
| v3, v7 | the same with `"id"`, nine letters and digits, after the arguments |
| v11 | `[TOOL_CALLS]f[CALL_ID]…[ARGS]{…}`, repeated for each call |
| v13, v15 | `[TOOL_CALLS]f[ARGS]{…}`, repeated for each call |

Source: `_encode_tool_calls_in_assistant_message` in mistral_common/tokens/tokenizers/instruct.py; the names in brackets
are control tokens, which a model cannot write as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tramontane.engine.grammar import (
    LEADING_BLANK,
    TEXT_RULE,
    Grammar,
    control_rule,
    json_rule,
    thinking_rule,
    thinking_tokens,
)
from tramontane.errors import InvalidRequestError

if TYPE_CHECKING:
    from tramontane.tokenizer.tokenizer import Tokenizer

# A small model that likes to call tools would go on until its budget is spent.
MAX_PARALLEL_CALLS = 32

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what the chat templates let through
_CALL_ID = "[a-zA-Z0-9]{9}"
_CHOICES = ("auto", "any", "required", "none")


@dataclass(frozen=True)
class ToolGrammar(Grammar):
    """Text or tool calls, as `choice` has it.

    `tools` are shaped as in OpenAI's API: `{"type": "function", "function": {"name", "parameters"}}`. `choice` is
    "auto" (text, or calls, or from v7 on text and then calls), "any" or "required" (calls), "none" (text), or the name
    of the one tool to call. Without `parallel` there is at most one call. With `thinks`, models that can may
    think first (v13 on).
    With `schema`, an answer that is no call is JSON that follows it.
    """

    tools: list[dict[str, Any]]
    choice: str = "auto"
    parallel: bool = True
    schema: dict[str, Any] | None = None
    thinks: bool = True
    field: ClassVar[str] = "tools"

    @property
    def has_free_text(self) -> bool:
        return self.schema is None

    def lark(self, tokenizer: Tokenizer) -> str:
        text = "TEXT?" if self.schema is None else "json"
        rules = [TEXT_RULE] if self.schema is None else [TEXT_RULE, f"json: {LEADING_BLANK} {json_rule(self.schema)}"]
        if self.choice == "none":
            answer = text
        else:
            calls_alone = self.choice != "auto"
            # Templates before v7 know a message with text or with calls, never with both.
            text_before = "TEXT?" if tokenizer.version >= 7 and self.schema is None else ""
            answer = "calls" if calls_alone else f"({text} | {text_before} calls)"
            rules += self._calls(tokenizer)
        thoughts = thinking_rule(tokenizer) if self.thinks else ""
        return "\n".join([f"start: {thoughts} {answer}", *rules])

    def control_tokens(self, tokenizer: Tokenizer) -> frozenset[int]:
        names = [] if self.choice == "none" else ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]
        thoughts = thinking_tokens(tokenizer) if self.thinks else frozenset()
        return thoughts | {i for name in names if (i := tokenizer.control_id(name)) is not None}

    def _calls(self, tokenizer: Tokenizer) -> list[str]:
        """The rule `calls`, and those that it needs."""
        if tokenizer.version < 2 or tokenizer.control_id("[TOOL_CALLS]") is None:
            raise InvalidRequestError(self.field, "This model has no form for tool calls; leave out the tools.")
        functions = self._functions()
        any_call = f"({' | '.join(f'call_{i}' for i in range(len(functions)))})"
        arguments = [f"args_{i}: {json_rule(_parameters(f))}" for i, f in enumerate(functions)]
        if tokenizer.version < 11:
            again = f"(/, ?/ {any_call}){{0,{MAX_PARALLEL_CALLS - 1}}}" if self.parallel else ""
            calls = f'calls: {control_rule(tokenizer, "[TOOL_CALLS]")} {LEADING_BLANK} "[" {any_call} {again} "]"'
            bodies = [_listed_call(i, f["name"], tokenizer.version) for i, f in enumerate(functions)]
        else:
            calls = f"calls: {any_call}{{1,{MAX_PARALLEL_CALLS if self.parallel else 1}}}"
            bodies = [_spelled_call(i, f["name"], tokenizer) for i, f in enumerate(functions)]
        return [calls, *bodies, *arguments]

    def _functions(self) -> list[dict[str, Any]]:
        """The functions that may be called, their names checked: names become part of the grammar."""
        functions = [tool["function"] for tool in self.tools]
        for function in functions:
            if not _TOOL_NAME.fullmatch(function["name"]):
                raise InvalidRequestError(
                    self.field, "The name of a tool has 1 to 64 letters, digits, underscores and dashes."
                )
        if self.choice not in _CHOICES:
            functions = [f for f in functions if f["name"] == self.choice]
        if not functions:
            raise InvalidRequestError("tool_choice", f"There is no tool for tool_choice {self.choice!r}.")
        return functions


def _listed_call(i: int, name: str, version: int) -> str:
    """One element of the JSON list of v2, v3 and v7. Blanks are optional where `json.dumps` writes them."""
    call_id = rf', ?"id": ?"{_CALL_ID}"' if version >= 3 else ""
    return rf'call_{i}: /\{{"name": ?"{name}", ?"arguments": ?/ args_{i} /{call_id}\}}/'


def _spelled_call(i: int, name: str, tokenizer: Tokenizer) -> str:
    """One call of v11 and later."""
    # mistral-common writes [CALL_ID] only for calls that have an id, and its own grammar leaves it out.
    has_id = tokenizer.version == 11 and tokenizer.control_id("[CALL_ID]") is not None
    call_id = f"({control_rule(tokenizer, '[CALL_ID]')} /{_CALL_ID}/)?" if has_id else ""
    start, args = control_rule(tokenizer, "[TOOL_CALLS]"), control_rule(tokenizer, "[ARGS]")
    return f'call_{i}: {start} "{name}" {call_id} {args} {LEADING_BLANK} args_{i}'


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    """The schema of a function's arguments: an object, and an empty one for a function without parameters."""
    schema = function.get("parameters")
    if schema is None:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    if schema.get("type", "object") != "object":
        raise InvalidRequestError(ToolGrammar.field, f"The parameters of {function['name']} must be a JSON object.")
    return {"type": "object", **schema}
