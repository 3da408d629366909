"""The body of OpenAI's responses, served without any state, and of the answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tramontane.api.schemas.common import Many, Metadata, RequestBody, documented

Item = Annotated[
    dict[str, Any],
    documented(
        {
            "type": "object",
            "title": "Item",
            "description": "A message (role, content), a function_call, a function_call_output, or a reasoning item.",
            "properties": {"type": {"type": "string"}, "role": {"type": "string"}},
        }
    ),
]


class TextFormat(RequestBody):
    """What the text must look like."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class TextOptions(RequestBody):
    """Options of the text."""

    format: TextFormat | None = None


class Reasoning(RequestBody):
    """How much the model shall think."""

    effort: str | None = None


class FunctionTool(RequestBody):
    """A function that the model may call."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedFunction(RequestBody):
    """The one function that must be called."""

    type: Literal["function"]
    name: str


class ResponseRequest(RequestBody):
    """A conversation to answer; nothing of it is kept."""

    model: str
    input: str | Many[Item]
    instructions: str | None = None
    tools: Many[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedFunction | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_output_tokens: int | None = Field(None, ge=1)
    stream: bool | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    metadata: Metadata = None


class ResponseBody(BaseModel):
    """An answer."""

    class Usage(BaseModel):
        """Tokens that it took."""

        input_tokens: int
        input_tokens_details: dict[str, int]
        output_tokens: int
        output_tokens_details: dict[str, int]
        total_tokens: int

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    model: str
    output: list[dict[str, Any]]
    usage: Usage | None
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
