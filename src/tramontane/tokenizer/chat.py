"""A chat request as the tokens its model was trained on, by mistral-common's own encoder of each version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mistral_common.exceptions import MistralCommonException
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.normalize import get_normalizer
from mistral_common.protocol.instruct.request import ChatCompletionRequest, ReasoningEffort, ResponseFormat

from tramontane.errors import InvalidRequestError, MessageOrderError
from tramontane.tokenizer.messages import Message, MessageReader
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.tokenizer.tools import read_tools


@dataclass(frozen=True)
class Rendered:
    """A prompt, ready for the engine.

    `prefix` is the beginning of the answer that the client wrote (`prefix: true`), as the model sees it: the reply is
    the prefix and what is generated, decoded with `continues=True`. `in_thinking` tells that the prefix ends inside
    thinking. `notes` are sentences on what the model's template could not hold.
    """

    tokens: list[int]
    prefix: str | None = None
    in_thinking: bool = False
    notes: list[str] = field(default_factory=list)


def render_chat(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    reasoning_effort: str | None = None,
    response_format: Mapping[str, Any] | None = None,
) -> Rendered:
    """Tokens of a request whose messages and tools are as clients send them (see reference/api.md).

    Accepted beyond mistral-common: tool-call ids of any shape or none, doubled messages of each role, a user's message
    after a tool's, system messages anywhere, null content. Text never becomes a control token, whatever it says (v1
    alone writes its template in plain characters). `response_format` matters only to v15 models that are told of it.

    Raises InvalidRequestError with the path of the field that was wrong.
    """
    reader = MessageReader(tokenizer)
    read = reader.read(messages)
    if tools and tokenizer.version == 1:
        raise InvalidRequestError("tools", "This model cannot call tools: its template (v1) has no place for them.")
    if tools and tokenizer.version >= 7 and not any(isinstance(message, UserMessage) for message in read):
        raise InvalidRequestError("messages", "Tools are shown to the model beside a user's message: send one.")
    effort = _effort(tokenizer, reasoning_effort)
    shown_format = _shown_format(tokenizer, response_format)
    try:
        request = ChatCompletionRequest[Message](
            messages=read, tools=read_tools(tools or []) or None, reasoning_effort=effort, response_format=shown_format
        )
        builder = tokenizer.instruct.tokenizer.model_settings_builder
        normalizer = get_normalizer(tokenizer.instruct.tokenizer.version, builder)
        tokens = tokenizer.instruct.encode_instruct(normalizer.from_chat_completion_request(request)).tokens
    except MistralCommonException as error:
        raise MessageOrderError("messages", error.message) from error
    except (AssertionError, RecursionError, ValueError) as error:
        reason = f"The model's template cannot write this conversation: {error}"
        raise MessageOrderError("messages", reason.splitlines()[0]) from error
    return Rendered(tokens, prefix=reader.prefix, in_thinking=reader.in_thinking, notes=reader.notes)


def _effort(tokenizer: Tokenizer, effort: str | None) -> ReasoningEffort | None:
    """The reasoning effort if the model knows it; a model that knows none can still be asked for none."""
    builder = tokenizer.instruct.tokenizer.model_settings_builder
    known = [str(value) for value in builder.reasoning_effort.values] if builder and builder.reasoning_effort else []
    if effort is None or (effort == "none" and not known):
        return None
    if effort not in known:
        answer = f"it can be {', '.join(known)}." if known else "this model has none to choose."
        raise InvalidRequestError("reasoning_effort", f"The reasoning effort cannot be {effort!r}: {answer}")
    return ReasoningEffort(effort)


def _shown_format(tokenizer: Tokenizer, response_format: Mapping[str, Any] | None) -> ResponseFormat:
    """The format as the model is told of it; most models are not, and only the grammar holds them to it."""
    builder = tokenizer.instruct.tokenizer.model_settings_builder
    if response_format is None or builder is None or builder.json_schema is None:
        return ResponseFormat()
    try:
        return ResponseFormat.model_validate(dict(response_format), extra="ignore")
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InvalidRequestError("response_format", f"The response format is not valid: {reason}") from error
