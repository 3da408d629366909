"""What a responses request asks for, in the terms of a chat: items become messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tramontane.api.chat import tools_to_call
from tramontane.api.schemas.responses import NamedFunction, ResponseRequest, TextFormat
from tramontane.errors import InvalidRequestError
from tramontane.gateway.requests import DEFAULT_TEMPERATURE, AnswerFormat, Chat, Sampling


def response_sampling(body: ResponseRequest) -> Sampling:
    """The neutral parameters."""
    temperature = DEFAULT_TEMPERATURE if body.temperature is None else body.temperature
    top_p = 1.0 if body.top_p is None else max(body.top_p, 1e-9)
    return Sampling(temperature=temperature, top_p=top_p, max_tokens=body.max_output_tokens)


def response_chat(body: ResponseRequest) -> Chat:
    """The conversation in neutral terms; raises InvalidRequestError for what needs a memory of earlier responses."""
    if body.previous_response_id is not None:
        raise InvalidRequestError(
            "previous_response_id", "This server keeps no responses: send the whole conversation in input."
        )
    if body.background:
        raise InvalidRequestError("background", "This server answers while the client waits: leave out background.")
    tools, choice = _tools(body)
    return Chat(
        messages=_messages(body),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        format=_format(body.text.format if body.text else None),
        reasoning_effort=body.reasoning.effort if body.reasoning else None,
    )


def _tools(body: ResponseRequest) -> tuple[list[dict[str, Any]], str]:
    tools: list[dict[str, Any]] = [
        {"type": "function", "function": tool.model_dump(include={"name", "description", "parameters"})}
        for tool in body.tools or []
    ]
    if isinstance(body.tool_choice, NamedFunction):
        return tools_to_call(tools, "required", body.tool_choice.name)
    return tools_to_call(tools, body.tool_choice or "auto")


def _format(text: TextFormat | None) -> AnswerFormat:
    if text is None or text.type == "text":
        return AnswerFormat()
    if text.type == "json_object" or text.json_schema is None:
        return AnswerFormat("json", shown={"type": "json_object"})
    shown = {"type": "json_schema", "json_schema": {"name": text.name or "answer", "schema": text.json_schema}}
    return AnswerFormat("json", text.json_schema, shown=shown)


def _messages(body: ResponseRequest) -> list[Mapping[str, Any]]:
    messages: list[dict[str, Any]] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        return [*messages, {"role": "user", "content": body.input}]
    for number, item in enumerate(body.input):
        _add_item(messages, f"input.{number}", item)
    return list(messages)


def _add_item(messages: list[dict[str, Any]], field: str, item: dict[str, Any]) -> None:
    kind = item.get("type") or ("message" if "role" in item else None)
    match kind:
        case "message":
            messages.append({"role": item.get("role"), "content": _content(field, item.get("content"))})
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            if messages and messages[-1].get("tool_calls"):
                messages[-1]["tool_calls"].append(call)  # calls made at once stand in one message
            else:
                messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        case "function_call_output":
            content = _content(field, item.get("output"))
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
        case "reasoning":
            pass  # thoughts of earlier turns are not shown to the model again
        case _:
            raise InvalidRequestError(field, f"Items of type {kind!r} are not supported here.")


def _content(field: str, content: Any) -> Any:
    """Text parts as chat messages have them; what else there is, the tokenizer refuses by its type."""
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        if not isinstance(part, dict):
            raise InvalidRequestError(field, "A part of content must be an object with a type.")
        is_text = part.get("type") in ("input_text", "output_text", "text", "refusal")
        parts.append({"type": "text", "text": part.get("text", part.get("refusal"))} if is_text else part)
    return parts
