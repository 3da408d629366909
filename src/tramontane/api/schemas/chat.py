"""The body of a chat request, as both families of clients send it, and of its answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tramontane.api.schemas.common import Many, RequestBody, SamplingFields, Usage, documented
from tramontane.gateway.requests import AnswerFormat

_CONTENT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]}

# The tokenizer reads messages and tools, and names what it cannot: here they are only described.
Message = Annotated[
    dict[str, Any],
    documented(
        {
            "type": "object",
            "title": "Message",
            "required": ["role"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
                "content": _CONTENT,
                "tool_calls": {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
                "tool_call_id": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "prefix": {
                    "type": "boolean",
                    "description": "Of a last assistant message: the answer goes on from it.",
                },
            },
        }
    ),
]
Tool = Annotated[
    dict[str, Any],
    documented(
        {
            "type": "object",
            "title": "Tool",
            "required": ["function"],
            "properties": {
                "type": {"const": "function"},
                "function": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                        "description": {"type": "string"},
                        "parameters": {"type": "object", "description": "A JSON schema, which arguments must follow."},
                    },
                },
            },
        }
    ),
]


class NamedTool(BaseModel):
    """The one function that must be called."""

    class Name(BaseModel):
        """Its name."""

        name: str

    type: Literal["function"] | None = None
    function: Name


ToolChoice = Literal["auto", "any", "required", "none"] | NamedTool


class SchemaFormat(RequestBody):
    """A JSON schema, and what it is called."""

    name: str | None = None
    description: str | None = None
    json_schema: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(RequestBody):
    """What the answer must look like.

    `quotes` is ours: verbatim quotations from the documents of the request, each with the number of a document that
    contains it, or a sentence which says that the documents do not tell.
    """

    type: Literal["text", "json_object", "json_schema", "quotes"]
    json_schema: SchemaFormat | None = None
    free_text: bool | None = Field(None, description="quotes: there may be text between the quotations.")
    languages: list[Literal["de", "en", "es", "fr", "it"]] | None = Field(
        None, description="quotes: in which languages the answer may say that the documents do not tell."
    )

    def neutral(self) -> AnswerFormat:
        """What it asks of a provider."""
        shown = self.model_dump(by_alias=True, exclude_none=True)
        match self.type:
            case "json_schema" if self.json_schema is not None:
                return AnswerFormat("json", self.json_schema.json_schema, shown=shown)
            case "json_object" | "json_schema":
                return AnswerFormat("json", shown={"type": "json_object"})
            case "quotes":
                languages = None if self.languages is None else tuple(self.languages)
                return AnswerFormat("quotes", free_text=bool(self.free_text), languages=languages)
        return AnswerFormat()


class DocumentField(RequestBody):
    """A document to answer from; it is shown to the model with its number, counted from 1."""

    text: str
    title: str | None = None
    id: str | None = Field(None, description="Yours: quotes from the document carry it.")


class Prediction(RequestBody):
    """What much of the answer will probably look like. It changes how fast an answer comes, never what it says."""

    type: Literal["content"]
    content: str | Many[dict[str, Any]]

    @property
    def text(self) -> str:
        """The predicted text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(chunk.get("text", "")) for chunk in self.content)


class ChatRequest(SamplingFields):
    """A conversation to answer."""

    messages: Many[Message]
    max_completion_tokens: int | None = Field(None, ge=1, description="Another name of max_tokens.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=100)
    prompt_logprobs: bool | int | None = None
    top_prompt_logprobs: int | None = Field(None, ge=0, le=100)
    response_format: ResponseFormat | None = None
    tools: Many[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    documents: Many[DocumentField] | None = Field(None, description="Shown to the model before the last question.")
    prediction: Prediction | None = None
    reasoning_effort: str | None = None
    prompt_mode: Literal["reasoning"] | None = None
    safe_prompt: bool | None = None
    guardrails: Many[dict[str, Any]] | None = None


class TokenLogprob(BaseModel):
    """A token of an answer and the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int]
    token_id: int
    top_logprobs: list[TokenLogprob] | None = None


class Logprobs(BaseModel):
    """Token by token."""

    content: list[TokenLogprob]


class QuoteSpan(BaseModel):
    """A quotation: `answer[text_start:text_end]` is `document[start:end]` but for white space. Unicode characters."""

    document: int = Field(description="Counted from 1.")
    document_id: str | None
    title: str | None
    start: int
    end: int
    text_start: int
    text_end: int


class FunctionCall(BaseModel):
    """A function's name and its arguments, as JSON in a string."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """A call that the client is asked to make."""

    id: str
    type: Literal["function"]
    function: FunctionCall
    index: int


class AnswerMessage(BaseModel):
    """The assistant's message. `content` is a list of chunks where the model thought first."""

    role: Literal["assistant"]
    content: str | list[dict[str, Any]]
    tool_calls: list[ToolCall] | None
    quotes: list[QuoteSpan] | None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    finish_reason: Literal["stop", "length", "model_length", "error", "tool_calls"]
    logprobs: Logprobs | None = None
    prompt_logprobs: Logprobs | None = None


class ChatCompletion(BaseModel):
    """An answer to a conversation, or to a gap that was to be filled."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class FimRequest(SamplingFields):
    """Code before and after a gap."""

    prompt: str
    suffix: str | None = None
