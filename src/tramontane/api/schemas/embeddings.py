"""The body of an embeddings request, and of its answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tramontane.api.schemas.common import Metadata, RequestBody, Texts, Usage


class EmbeddingRequest(RequestBody):
    """Texts, or their tokens, to be made vectors."""

    model: str
    input: Texts
    output_dimension: int | None = Field(None, ge=1, description="The first so many elements, at length 1 again.")
    dimensions: int | None = Field(None, ge=1, description="Another name of output_dimension.")
    output_dtype: Literal["float", "int8", "uint8", "binary", "ubinary"] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    metadata: Metadata = None


class Embedding(BaseModel):
    """One vector; little-endian bytes in base64, where that was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingResponse(BaseModel):
    """A vector for each input, in order."""

    id: str
    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: Usage
