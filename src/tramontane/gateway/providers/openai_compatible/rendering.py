"""A neutral request as the body that other servers read. What they cannot do is refused by the name of its field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tramontane.errors import InvalidRequestError
from tramontane.gateway.requests import AnswerFormat, Chat, Continuation, Fim, Generation, Sampling
from tramontane.tokenizer.documents import render_documents
from tramontane.tokenizer.tool_call_ids import rehash_tool_call_id

_ROLES = ("system", "developer", "user", "assistant", "tool")
_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id")


def render(model: str, generation: Generation, max_tokens: int | None) -> tuple[str, dict[str, Any]]:
    """Path and body. Answers are always streamed: only so is a client that hangs up noticed upstream."""
    match generation.prompt:
        case Chat():
            path, body = "chat/completions", _chat(generation.prompt)
        case Fim():
            path, body = "fim/completions", {"prompt": generation.prompt.prompt, "suffix": generation.prompt.suffix}
        case Continuation():
            given = generation.prompt.prompt
            path, body = "completions", {"prompt": given if isinstance(given, str) else list(given)}
    body |= _sampling(generation.sampling)
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    if body.get("max_tokens") is not None and "min_tokens" in body:
        body["min_tokens"] = min(body["min_tokens"], body["max_tokens"])
    known = {name: value for name, value in body.items() if value is not None}
    return path, {"model": model, **known, "stream": True, "stream_options": {"include_usage": True}}


def _sampling(sampling: Sampling) -> dict[str, Any]:
    """What differs from what servers do unasked."""
    for name in ("logprobs", "prompt_logprobs"):
        if getattr(sampling, name) is not None:
            raise InvalidRequestError(name, f"{name} are known of models on this machine only: leave it out.")
    usual = Sampling()
    names = ("top_p", "top_k", "min_tokens", "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed")
    body = {name: getattr(sampling, name) for name in names if getattr(sampling, name) != getattr(usual, name)}
    body |= {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens}
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    return body


def _chat(chat: Chat) -> dict[str, Any]:
    if chat.prediction:
        raise InvalidRequestError("prediction", "Predictions help models on this machine only: leave it out.")
    body: dict[str, Any] = {"messages": _messages(chat), "response_format": _format(chat.format)}
    if chat.tools:
        body["tools"] = [dict(tool) for tool in chat.tools]
        body["tool_choice"] = None if chat.tool_choice == "auto" else chat.tool_choice
        body["parallel_tool_calls"] = None if chat.parallel_tool_calls else False
    body["reasoning_effort"] = chat.reasoning_effort
    body["prompt_mode"] = "reasoning" if chat.thinks else None
    return body


def _format(format_: AnswerFormat) -> dict[str, Any] | None:
    if format_.kind == "quotes":
        message = "Only models on this machine answer in quotes that are held to the documents: leave it out."
        raise InvalidRequestError("response_format", message)
    if format_.kind == "text":
        return None
    shown = dict(format_.shown or {})
    if format_.schema is None:
        return {"type": "json_object"}
    described = shown.get("json_schema") or {"name": "answer"}
    return {"type": "json_schema", "json_schema": {"strict": True, **described, "schema": dict(format_.schema)}}


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _messages(chat: Chat) -> list[dict[str, Any]]:
    if not chat.messages:
        raise InvalidRequestError("messages", "A conversation needs at least one message.")
    messages = [_message(f"messages.{index}", message) for index, message in enumerate(chat.messages)]
    if not chat.documents:
        return messages
    asked = next((message for message in reversed(messages) if message["role"] == "user"), None)
    if asked is None or not isinstance(asked["content"], str):
        raise InvalidRequestError("messages", "Documents stand before a user's question: end with a user's text.")
    asked["content"] = render_documents(chat.documents, asked["content"])
    return messages


def _message(place: str, message: Any) -> dict[str, Any]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise InvalidRequestError(place, f"{place} is no message: it needs a role.")
    if message["role"] not in _ROLES:  # templates write them into the prompt, so they are no place for more of it
        raise InvalidRequestError(f"{place}.role", f"{place}.role has to be one of {', '.join(_ROLES)}.")
    if message.get("prefix"):
        text = "The beginning of an answer can be given to models on this machine only: leave out prefix."
        raise InvalidRequestError(f"{place}.prefix", text)
    sent = {name: message[name] for name in _MESSAGE_FIELDS if message.get(name) is not None}
    if sent["role"] == "developer":
        sent["role"] = "system"
    sent["content"] = _content(f"{place}.content", sent.get("content"))
    if "tool_calls" in sent:
        sent["tool_calls"] = [_tool_call(f"{place}.tool_calls", call) for call in _list(place, sent["tool_calls"])]
        if not sent["tool_calls"]:
            del sent["tool_calls"]
    if "tool_call_id" in sent:
        sent["tool_call_id"] = rehash_tool_call_id(str(sent["tool_call_id"]))
    return sent


def _content(place: str, content: Any) -> Any:
    """Text as text, and chunks as OpenAI has them. Earlier thoughts are left out, as templates do."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequestError(place, f"{place} has to be a text, or a list of chunks.")
    chunks = [_chunk(f"{place}.{index}", chunk) for index, chunk in enumerate(content) if not _is_thought(chunk)]
    texts = [chunk["text"] for chunk in chunks if chunk["type"] == "text"]
    return "".join(texts) if len(texts) == len(chunks) else chunks


def _is_thought(chunk: Any) -> bool:
    return isinstance(chunk, Mapping) and chunk.get("type") in ("thinking", "reference")


def _chunk(place: str, chunk: Any) -> dict[str, Any]:
    """What else there is (files, documents by their address, sounds) takes tokens that nobody could hold money for."""
    if isinstance(chunk, str):
        return {"type": "text", "text": chunk}
    given = chunk if isinstance(chunk, Mapping) else {}
    text, image = given.get("text"), given.get("image_url")
    if given.get("type") == "text" and isinstance(text, str):
        return {"type": "text", "text": text}
    if given.get("type") == "image_url" and isinstance(image, str | Mapping):
        return {"type": "image_url", "image_url": {"url": image} if isinstance(image, str) else dict(image)}
    raise InvalidRequestError(place, f"{place} is neither text nor an image: other servers are sent nothing else.")


def _tool_call(place: str, call: Any) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise InvalidRequestError(place, f"{place} holds something that calls no function.")
    given = function.get("arguments")
    arguments = given if isinstance(given, str) else json.dumps({} if given is None else given)
    called = {"name": function.get("name"), "arguments": arguments}
    return {"id": rehash_tool_call_id(str(call.get("id") or "")), "type": "function", "function": called}


def _list(place: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise InvalidRequestError(f"{place}.tool_calls", f"{place}.tool_calls is no list.")
    return value
