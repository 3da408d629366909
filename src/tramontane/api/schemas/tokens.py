"""Bodies of /tokenize and /detokenize."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tramontane.api.schemas.chat import Message, Tool
from tramontane.api.schemas.common import Many, RequestBody


class TokenizeRequest(RequestBody):
    """A text as it is, or a conversation as the model's template writes it: one of the two."""

    model: str
    prompt: str | None = None
    messages: Many[Message] | None = None
    tools: Many[Tool] | None = None


class Tokens(BaseModel):
    """Token ids, and how many the model takes at most."""

    tokens: list[int]
    count: int
    max_model_len: int


class DetokenizeRequest(RequestBody):
    """Token ids."""

    model: str
    tokens: Many[int] = Field(max_length=1_000_000)


class DetokenizedText(BaseModel):
    """Their text; control tokens stand by their names."""

    prompt: str
