"""Conversations as the web app reads and writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from tramontane.conversations.ids import id_or_nobodys
from tramontane.conversations.plain_text import storable
from tramontane.conversations.tables import Author, MessageState

Storable = AfterValidator(storable)
Id = Annotated[str, Field(max_length=200), AfterValidator(id_or_nobodys)]
Title = Annotated[str, Field(max_length=200), Storable]
ModelName = Annotated[str, Field(max_length=200), Storable]
Content = Annotated[str, Field(min_length=1, max_length=1_000_000), Storable]
SystemPrompt = Annotated[str, Field(max_length=100_000), Storable]
Temperature = Annotated[float, Field(ge=0, le=2)]
MaxTokens = Annotated[int, Field(ge=1, le=10_000_000)]


class Settings(BaseModel):
    """How answers of a conversation are made. Null: the server's default."""

    model: ModelName = Field("", description="The name of a served model, as GET /v1/models lists it.")
    system_prompt: SystemPrompt = ""
    temperature: Temperature | None = None
    max_tokens: MaxTokens | None = None
    quotes: bool = Field(True, description="With documents: answers are verbatim quotes and citations.")
    tools: list[dict[str, Any]] = Field([], max_length=64, description="Functions that the model may call.")


class ConversationDraft(Settings):
    """A conversation to be."""

    title: Title = ""
    document_ids: list[Id] = Field([], max_length=200)


class ConversationChange(BaseModel):
    """What of a conversation is to change; what is absent stays."""

    title: Title | None = None
    model: ModelName | None = None
    system_prompt: SystemPrompt | None = None
    temperature: Temperature | None = None
    max_tokens: MaxTokens | None = None
    quotes: bool | None = None
    tools: list[dict[str, Any]] | None = Field(None, max_length=64)
    head_id: Id | None = Field(None, description="The message at whose newest leaf the shown branch is to end.")
    document_ids: list[Id] | None = Field(None, max_length=200)


class ConversationHead(BaseModel):
    """A conversation in a list."""

    id: str
    title: str
    model: str
    created_at: datetime
    updated_at: datetime
    excerpt: str | None = Field(None, description="Of a search: the words around the first hit, as plain text.")
    hit_id: str | None = Field(None, description="Of a search: the message with the hit.")


class ConversationList(BaseModel):
    """Conversations, the newest first."""

    data: list[ConversationHead]
    next: str | None = Field(None, description="The value of `before` for the next page.")


class DocumentHead(BaseModel):
    """A document without its text."""

    id: str
    name: str
    media_type: str
    num_bytes: int
    num_pages: int | None
    num_characters: int
    created_at: datetime


class DocumentList(BaseModel):
    """The documents of the library, the newest first."""

    data: list[DocumentHead]
    next: str | None = None


class DocumentText(DocumentHead):
    """A document with its text; citations count its characters (Unicode code points)."""

    text: str


class ShareHead(BaseModel):
    """A link that was given out; the link itself is shown once."""

    id: str
    created_at: datetime
    head_id: str


class NewShare(ShareHead):
    """A link that was just made."""

    path: str = Field(description="/shared/TOKEN on this server.")


class ConversationBody(Settings):
    """A conversation without its messages."""

    id: str
    title: str
    head_id: str | None
    created_at: datetime
    updated_at: datetime
    documents: list[DocumentHead]
    shares: list[ShareHead]


class Span(BaseModel):
    """Characters of a document's text, from `start` to before `end` (Unicode code points)."""

    start: int
    end: int


class GivenDocument(BaseModel):
    """A document as the model was given it, under the number by which the answer cites it."""

    number: int
    document_id: str | None = Field(description="Null in a shared view, which has no passages either.")
    name: str
    whole: bool
    passages: list[Span]


class QuoteBody(BaseModel):
    """A quotation: these characters of the answer are those of the document, but for white space."""

    number: int
    document_id: str | None = Field(description="Null where the document was deleted since, or in a shared view.")
    text_start: int
    text_end: int
    spans: list[Span] = Field(description="Where in the document; two where it runs over a gap between passages.")


class ToolCallBody(BaseModel):
    """A function that the model wants called."""

    id: str
    name: str
    arguments: str = Field(description="JSON, as the model wrote it.")


class MessageBody(BaseModel):
    """A question or an answer."""

    id: str
    parent_id: str | None
    author: Author
    state: MessageState
    content: str
    thinking: str = ""
    tool_calls: list[ToolCallBody] = []
    quotes: list[QuoteBody] = []
    given: list[GivenDocument] = []
    not_given: list[str] = Field([], description="Names of attached documents of which nothing found room.")
    model: str = ""
    compared_with: str | None = None
    problem: str | None = Field(None, description="Of a failed answer: the error's type.")
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_seconds: float | None = None
    tokens_per_second: float | None = None
    left_out: int = Field(0, description="Earlier messages for which the context had no room.")
    created_at: datetime
    siblings: list[str] = Field([], description="Ids of all messages in this place, itself included, the oldest first.")


class MessagePage(BaseModel):
    """The end of a branch, or a piece of it that ends before a message; in the order of reading."""

    data: list[MessageBody]
    has_earlier: bool
    compared: list[MessageBody] = Field([], description="Answers that stand beside one of the page, see compared_with.")


class Question(BaseModel):
    """A question, asked at the end of a branch (`parent_id`: an answer), or at the beginning (null).

    To edit a question is to ask another one with the same parent.
    """

    content: Content
    parent_id: Id | None = None
    models: list[ModelName] = Field([], max_length=2, description="None: the conversation's.")


class AnswerRequest(BaseModel):
    """A question that is to be answered anew."""

    question_id: Id
    model: ModelName | None = Field(None, description="None: the conversation's.")


class Asked(BaseModel):
    """The question as it was kept, and the answers that are being written: read their events."""

    question: MessageBody
    answers: list[MessageBody]


class SharedConversation(BaseModel):
    """What a shared link shows: no documents but their names and what was quoted."""

    title: str
    created_at: datetime
    data: list[MessageBody]


PresetName = Annotated[str, Field(min_length=1, max_length=100), Storable]


class PresetDraft(BaseModel):
    """Settings under a name."""

    name: PresetName
    system_prompt: SystemPrompt = ""
    temperature: Temperature | None = None
    max_tokens: MaxTokens | None = None


class PresetChange(BaseModel):
    """What of a preset is to change; what is absent stays."""

    name: PresetName | None = None
    system_prompt: SystemPrompt | None = None
    temperature: Temperature | None = None
    max_tokens: MaxTokens | None = None


class PresetBody(PresetDraft):
    """A preset that was kept."""

    id: str


class PresetList(BaseModel):
    """The user's presets, by name."""

    data: list[PresetBody]


ExportFormat = Literal["json", "markdown"]
