"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.chat_answers import Shown, streamed_chat, whole_chat
from tramontane.api.errors import RESPONSES
from tramontane.api.generation import begin, note_request, whole
from tramontane.api.platform import exchange_of
from tramontane.api.schemas.chat import ChatCompletion, ChatRequest, NamedTool, ToolChoice
from tramontane.api.streams import STREAMED, EventStreamResponse
from tramontane.errors import InvalidRequestError
from tramontane.gateway.requests import AnswerFormat, Chat, Sampling
from tramontane.tokenizer.documents import Document

router = APIRouter(route_class=AuthenticatedRoute, tags=["chat"])

# What la Plateforme documents as the effect of `safe_prompt`.
_SAFE_PROMPT = (
    "Always assist with care, respect, and truth. Respond with utmost utility yet securely. Avoid harmful, unethical, "
    "prejudiced, or negative content. Ensure replies promote fairness and positivity."
)


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={**RESPONSES, 200: {"content": STREAMED, "description": "The answer; a stream of chunks on demand."}},
)
async def chat_completions(request: Request, body: ChatRequest) -> Response:
    """Answer a conversation, whole or as a stream; with tools, JSON schemas, or quotes from documents."""
    note_request(request, body, body.metadata, body.stream)
    if body.guardrails:
        raise InvalidRequestError(
            "guardrails", "This server has no guardrails yet: a request that asks for them fails."
        )
    sampling = _sampling(body)
    shown = Shown(
        id=exchange_of(request).id,
        model=body.model,
        num_choices=sampling.n,
        logprobs=sampling.logprobs is not None,
        top_logprobs=body.top_logprobs is not None,
        top_prompt_logprobs=bool(sampling.prompt_logprobs),
    )
    stream = await begin(request, body.model, chat_prompt(body), sampling)
    if body.stream:
        return EventStreamResponse(streamed_chat(shown, stream), stream.aclose)
    return whole_chat(shown, await whole(request, stream, sampling.n))


def _sampling(body: ChatRequest) -> Sampling:
    asked = body.logprobs or (body.logprobs is None and body.top_logprobs is not None)
    # A number, as other servers take it, asks for so many of the best tokens.
    given = body.prompt_logprobs
    asked_of_prompt = (given is not None and given is not False) or body.top_prompt_logprobs is not None
    number = 0 if given is True else given or 0
    if body.max_tokens is None:
        body.max_tokens = body.max_completion_tokens
    return body.sampling(
        logprobs=(body.top_logprobs or 0) if asked else None,
        prompt_logprobs=(body.top_prompt_logprobs or number) if asked_of_prompt else None,
    )


def chat_prompt(body: ChatRequest) -> Chat:
    """The conversation in neutral terms."""
    tools, choice = _tools(body.tools or [], body.tool_choice)
    messages: list[Mapping[str, Any]] = list(body.messages)
    if body.safe_prompt:
        messages.insert(0, {"role": "system", "content": _SAFE_PROMPT})
    return Chat(
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        format=AnswerFormat() if body.response_format is None else body.response_format.neutral(),
        documents=tuple(Document(d.text, title=d.title, id=d.id) for d in body.documents or []),
        prediction="" if body.prediction is None else body.prediction.text,
        reasoning_effort=body.reasoning_effort,
        thinks=body.prompt_mode == "reasoning",
    )


def _tools(tools: list[dict[str, Any]], choice: ToolChoice | None) -> tuple[list[dict[str, Any]], str]:
    """The tools that may be called, and whether one must be."""
    if isinstance(choice, NamedTool):
        return tools_to_call(tools, "required", choice.function.name)
    return tools_to_call(tools, "required" if choice in ("any", "required") else choice or "auto")


def tools_to_call(
    tools: list[dict[str, Any]], choice: str, name: str | None = None
) -> tuple[list[dict[str, Any]], str]:
    """The tools that may be called under a choice, or the one that was named; raises InvalidRequestError for none."""
    if name is not None:
        functions = [(tool, tool.get("function")) for tool in tools]
        tools = [tool for tool, function in functions if isinstance(function, dict) and function.get("name") == name]
        if not tools:
            raise InvalidRequestError("tool_choice", f"There is no tool called {name!r} in tools.")
    if choice == "required" and not tools:
        raise InvalidRequestError("tool_choice", "A tool must be called, but the request has no tools.")
    return tools, choice
