"""Messages as clients send them (JSON) into mistral-common's own, or a refusal that names the field.

What a template cannot hold but a client may well have in its history (thinking, text beside tool calls) is left out
with a note; what would change the meaning of the request is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from mistral_common.protocol.instruct.chunk import TextChunk, ThinkChunk
from mistral_common.protocol.instruct.messages import (
    AssistantMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from mistral_common.protocol.instruct.tool_calls import FunctionCall, ToolCall

from tramontane.errors import InvalidRequestError, MessageOrderError
from tramontane.tokenizer.fields import require_function_name, require_readable_json, require_text
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.tokenizer.tool_call_ids import rehash_tool_call_id

Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage
Chunk = TextChunk | ThinkChunk

# Assistants' chunks that carry no text of their own: clients send back what they were given.
_EMPTY_CHUNK_TYPES = ("reference",)


class MessageReader:
    """Reads one conversation, in order: it remembers which tool calls still wait for their result.

    `notes` are sentences on what was left out; `prefix` is the text of a last message that is to be continued, and
    `in_thinking` tells that it ends inside an open thinking chunk.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._version = tokenizer.version
        self._thinks = tokenizer.version >= 13 and tokenizer.control_id("[THINK]") is not None
        self._pending: list[tuple[str, str]] = []  # (id, function name) of calls without a result yet
        self._last_role = ""
        self.notes: list[str] = []
        self.prefix: str | None = None
        self.in_thinking = False

    def read(self, messages: Sequence[Any]) -> list[Message]:
        """The whole conversation. Raises InvalidRequestError with the path of the field (`messages.2.content`)."""
        if not messages:
            raise InvalidRequestError("messages", "A conversation needs at least one message.")
        read = [
            self._message(index, message, is_last=index == len(messages) - 1) for index, message in enumerate(messages)
        ]
        self._refuse_pending(f"messages.{len(messages) - 1}")
        if self._last_role == "assistant" and self.prefix is None:
            raise MessageOrderError(
                f"messages.{len(messages) - 1}.role",
                "The last message is the assistant's: send a user or tool message, or prefix: true to continue it.",
            )
        kept = [message for message in read if message is not None]
        if not kept:
            raise InvalidRequestError("messages", "The conversation is empty.")
        return self._without_text_beside_calls(kept) if self._version <= 3 else kept

    def _message(self, index: int, message: Any, *, is_last: bool) -> Message | None:
        field = f"messages.{index}"
        if not isinstance(message, Mapping):
            raise InvalidRequestError(field, "A message must be an object with a role and content.")
        role = message.get("role")
        if message.get("prefix") and not (is_last and role == "assistant"):
            raise MessageOrderError(f"{field}.prefix", "Only the last message, the assistant's, can be a prefix.")
        if role == "user" or (role == "assistant" and self._last_role != "assistant"):
            self._refuse_pending(field)
        read = self._message_of_role(field, index, role, message)
        self._last_role = str(role)
        return read

    def _message_of_role(self, field: str, index: int, role: Any, message: Mapping[str, Any]) -> Message | None:
        match role:
            case "user":
                return UserMessage(content=self._text(f"{field}.content", message.get("content")))
            case "assistant":
                return self._assistant(field, index, message)
            case "tool":
                return self._tool_result(field, message)
            case "system" | "developer":
                return SystemMessage(content=self._content(field, message, in_system=True))  # type: ignore[arg-type]
        raise InvalidRequestError(f"{field}.role", f"The role must be system, user, assistant or tool, not {role!r}.")

    # ── the assistant ─────────────────────────────────────────────────────────────────────────────────────────────

    def _assistant(self, field: str, index: int, message: Mapping[str, Any]) -> AssistantMessage | None:
        content = self._content(field, message)
        calls = self._tool_calls(field, index, message.get("tool_calls"))
        is_prefix = bool(message.get("prefix"))
        if is_prefix and calls:
            raise InvalidRequestError(f"{field}.prefix", "A prefix holds text; it cannot hold tool calls.")
        if is_prefix:
            content = self._set_prefix(content)
        if not content and not calls:
            return None  # an empty turn says nothing, and no template can write it
        return AssistantMessage(content=content or None, tool_calls=calls or None, prefix=is_prefix)  # type: ignore[arg-type]

    def _set_prefix(self, content: str | list[Chunk]) -> str | list[Chunk]:
        """Keep the prefix as the model sees it: from v2 on the templates cut blanks off the end of a plain text."""
        if isinstance(content, str):
            self.prefix = content if self._version == 1 else content.rstrip(" ")
            return self.prefix
        last = content[-1]
        self.prefix = self._join([chunk.text for chunk in content if isinstance(chunk, TextChunk)])
        self.in_thinking = isinstance(last, ThinkChunk) and not last.closed
        return content

    def _tool_calls(self, field: str, index: int, calls: Any) -> list[ToolCall]:
        if not calls:
            return []
        field = f"{field}.tool_calls"
        self._refuse_tools_in_v1(field)
        if not isinstance(calls, Sequence) or isinstance(calls, str):
            raise InvalidRequestError(field, "The tool calls must be a list.")
        return [self._tool_call(f"{field}.{number}", f"{index}.{number}", call) for number, call in enumerate(calls)]

    def _tool_call(self, field: str, place: str, call: Any) -> ToolCall:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise InvalidRequestError(field, "A tool call must be an object with a function, its name and arguments.")
        name = require_function_name(f"{field}.function.name", function.get("name"))
        arguments = _arguments(f"{field}.function.arguments", function.get("arguments"))
        # A call without an id gets one from its place, and the results without an id are taken in order.
        call_id = rehash_tool_call_id(require_text(f"{field}.id", call.get("id") or f"call {place}"))
        self._pending.append((call_id, name))
        return ToolCall(id=call_id, function=FunctionCall(name=name, arguments=arguments))

    # ── tools' results ────────────────────────────────────────────────────────────────────────────────────────────

    def _tool_result(self, field: str, message: Mapping[str, Any]) -> ToolMessage:
        self._refuse_tools_in_v1(f"{field}.role")
        content = self._text(f"{field}.content", message.get("content"))
        if self._version <= 3:  # later templates show a result as it is
            require_readable_json(f"{field}.content", content)
        call_id, name = self._take_pending(f"{field}.tool_call_id", message.get("tool_call_id"))
        return ToolMessage(content=content, tool_call_id=call_id, name=name)

    def _take_pending(self, field: str, given: Any) -> tuple[str, str]:
        wanted = rehash_tool_call_id(require_text(field, given)) if given else None
        for call in self._pending:
            if wanted in (None, call[0]):
                self._pending.remove(call)
                return call
        raise MessageOrderError(field, "This is the result of a tool call that the messages before it do not have.")

    def _refuse_pending(self, field: str) -> None:
        if self._pending:
            names = ", ".join(name for _, name in self._pending)
            raise MessageOrderError(field, f"Tool calls have no result yet ({names}): their tool messages come first.")

    def _refuse_tools_in_v1(self, field: str) -> None:
        if self._version == 1:
            raise InvalidRequestError(field, "This model cannot call tools: its template (v1) has no place for them.")

    def _without_text_beside_calls(self, messages: list[Message]) -> list[Message]:
        """Templates up to v3 hold either text or tool calls in an assistant's turn, which may be several messages."""
        kept: list[Message] = []
        for is_assistant, group in groupby(messages, lambda message: isinstance(message, AssistantMessage)):
            turn = list(group)
            calling = [message for message in turn if isinstance(message, AssistantMessage) and message.tool_calls]
            if is_assistant and calling and any(message.content for message in turn):
                self.notes.append("The model's template holds no text beside tool calls; the text was left out.")
                turn = [AssistantMessage(tool_calls=message.tool_calls) for message in calling]
            kept += turn
        return kept

    # ── content ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _content(self, field: str, message: Mapping[str, Any], *, in_system: bool = False) -> str | list[Chunk]:
        """An assistant's or system message's content: a text, or chunks where the model is shown thinking."""
        chunks: list[Chunk] = []
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        if reasoning and not in_system:
            chunks.append(ThinkChunk(thinking=require_text(f"{field}.reasoning_content", reasoning)))
        for path, chunk in self._chunks(f"{field}.content", message.get("content")):
            if chunk.get("type") == "thinking":
                chunks.append(_think_chunk(path, chunk))
            elif chunk.get("type") not in _EMPTY_CHUNK_TYPES:
                chunks.append(_text_chunk(path, chunk))
        return self._fold(field, chunks, in_system=in_system)

    def _fold(self, field: str, chunks: list[Chunk], *, in_system: bool) -> str | list[Chunk]:
        """One text, unless there is thinking and the template has a place for it (v15 has none in system messages)."""
        texts = [chunk for chunk in chunks if isinstance(chunk, TextChunk)]
        if len(texts) == len(chunks):
            return self._join([chunk.text for chunk in texts])
        if self._thinks and not (in_system and self._version >= 15):
            return chunks
        self.notes.append(f"{field}.content: the model's template holds no thinking here; it was left out.")
        return self._join([chunk.text for chunk in texts])

    def _text(self, field: str, content: Any) -> str:
        """A user's or tool's content: texts only."""
        return self._join([_text_chunk(path, chunk).text for path, chunk in self._chunks(field, content)])

    def _chunks(self, field: str, content: Any) -> list[tuple[str, Mapping[str, Any]]]:
        """The chunks of a content with their paths; a string is one text chunk, null is none."""
        if content is None:
            return []
        if isinstance(content, str):
            return [(field, {"type": "text", "text": content})]
        if not isinstance(content, Sequence):
            raise InvalidRequestError(field, "The content must be a text, a list of chunks, or null.")
        for number, chunk in enumerate(content):
            if not isinstance(chunk, Mapping):
                raise InvalidRequestError(f"{field}.{number}", "A chunk of content must be an object with a type.")
        return [(f"{field}.{number}", chunk) for number, chunk in enumerate(content)]

    def _join(self, texts: list[str]) -> str:
        """Text chunks become one text as the version's normaliser in mistral-common joins them."""
        return ("" if self._version >= 15 else "\n\n").join(text for text in texts if text)


def _text_chunk(field: str, chunk: Mapping[str, Any]) -> TextChunk:
    if chunk.get("type") != "text":
        raise InvalidRequestError(field, f"Content of type {chunk.get('type')!r} is not supported here: send text.")
    return TextChunk(text=require_text(field, chunk.get("text")))


def _think_chunk(field: str, chunk: Mapping[str, Any]) -> ThinkChunk:
    thinking = chunk.get("thinking")
    if isinstance(thinking, Sequence) and not isinstance(thinking, str):
        texts = [part.get("text") for part in thinking if isinstance(part, Mapping) and part.get("type") == "text"]
        thinking = "".join(require_text(field, text) for text in texts)
    return ThinkChunk(thinking=require_text(field, thinking), closed=chunk.get("closed") is not False)


def _arguments(field: str, arguments: Any) -> str:
    """A call's arguments as JSON text; some clients send the object itself, or null for none."""
    if arguments is None:
        return "{}"
    if isinstance(arguments, Mapping):
        try:
            arguments = json.dumps(arguments, ensure_ascii=False)
        except (RecursionError, TypeError, ValueError) as error:
            raise InvalidRequestError(field, "The arguments cannot be written as JSON.") from error
    require_readable_json(field, require_text(field, arguments))
    return str(arguments)
