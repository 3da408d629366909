"""POST /v1/embeddings."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.errors import RESPONSES
from tramontane.api.generation import inputs_of, note_request, usage_body
from tramontane.api.platform import exchange_of, platform_of, principal_of
from tramontane.api.schemas.embeddings import EmbeddingRequest, EmbeddingResponse
from tramontane.api.streams import json_response, unless_hung_up
from tramontane.gateway.answers import Usage
from tramontane.gateway.requests import EmbeddingJob

router = APIRouter(route_class=AuthenticatedRoute, tags=["embeddings"])

_MOST_INPUTS = 2048


@router.post("/v1/embeddings", response_model=EmbeddingResponse, responses=RESPONSES)
async def embeddings(request: Request, body: EmbeddingRequest) -> Response:
    """One vector for each input: floats, whole numbers or bits; as lists or base64."""
    note_request(request, body, body.metadata)
    exchange, principal = exchange_of(request), principal_of(request)
    exchange.route = request.scope["route"].path
    inputs, dimensions = inputs_of("input", body.input, _MOST_INPUTS), body.output_dimension or body.dimensions
    job = EmbeddingJob(exchange.id, inputs, principal.cache_salt, dimensions)
    made = await unless_hung_up(request, platform_of(request).gateway.embed(principal, body.model, job, exchange))
    vectors = np.asarray(made.vectors, dtype=np.float32)  # [inputs, dim]
    job.check_width(vectors.shape[1])  # of a model elsewhere it is known only now
    vectors = _shortened(vectors, dimensions)
    rows = quantize(vectors, body.output_dtype or "float")
    encode = _base64 if body.encoding_format == "base64" else _list
    reply = {
        "id": exchange.id,
        "object": "list",
        "model": body.model,
        "data": [{"object": "embedding", "index": i, "embedding": encode(row)} for i, row in enumerate(rows)],
        "usage": usage_body(Usage(made.num_tokens, 0, 0)),
    }
    return json_response(reply)


def _shortened(vectors: npt.NDArray[np.float32], dimensions: int | None) -> npt.NDArray[np.float32]:
    """The first elements of each vector, at length 1: right for models that were trained for it (Matryoshka)."""
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    kept = vectors[:, :dimensions]
    shortened: npt.NDArray[np.float32] = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return shortened


def quantize(vectors: npt.NDArray[np.float32], dtype: str) -> npt.NDArray[Any]:
    """Vectors [n, dim] in another type.

    int8: 127 times each element, which lies between -1 and 1; uint8: the same plus 128. ubinary: a bit for each
    element above zero, the first one highest in its byte; binary: these bytes minus 128.
    """
    match dtype:
        case "int8":
            return np.rint(np.clip(vectors, -1, 1) * 127).astype(np.int8)
        case "uint8":
            return (np.rint(np.clip(vectors, -1, 1) * 127) + 128).astype(np.uint8)
        case "ubinary":
            return np.packbits(vectors > 0, axis=1)
        case "binary":
            return (np.packbits(vectors > 0, axis=1).astype(np.int16) - 128).astype(np.int8)
    return vectors


def _list(row: npt.NDArray[Any]) -> list[float]:
    values: list[float] = row.tolist()
    return values


def _base64(row: npt.NDArray[Any]) -> str:
    return base64.b64encode(row.astype(row.dtype.newbyteorder("<")).tobytes()).decode()
