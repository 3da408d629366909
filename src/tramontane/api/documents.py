"""/v1/documents: the library of documents."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.authentication import AuthenticatedRoute
from tramontane.api.conversation_bodies import document_head
from tramontane.api.errors import UPLOAD_PATH
from tramontane.api.owned import OWNED_RESPONSES, Before, Limit, Name, PathId, Search, owner_of
from tramontane.api.platform import platform_of
from tramontane.api.schemas.conversations import DocumentHead, DocumentList, DocumentText
from tramontane.conversations import documents
from tramontane.conversations.extraction import extract
from tramontane.conversations.passages import cut

router = APIRouter(route_class=AuthenticatedRoute, tags=["documents"], responses=OWNED_RESPONSES)

_RAW_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file as it is.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(UPLOAD_PATH, openapi_extra=_RAW_BODY)
async def add_document(request: Request, name: Name) -> DocumentHead:
    """Keep the text of a file: PDF, DOCX, ODT, HTML, Markdown, CSV or plain text. The file itself is not kept.

    A file that was kept before under the same name is the document that it made then.
    """
    content = await request.body()
    async with platform_of(request).database.read() as session:
        if (known := await documents.same_document(session, owner_of(request), name, content)) is not None:
            return document_head(known)
    extracted = await extract(name, content)
    spans = await asyncio.to_thread(cut, extracted.text)  # seconds, for the longest
    async with platform_of(request).database.write() as session:
        kept = await documents.add_document(session, owner_of(request), name, content, extracted, spans)
    return document_head(kept)


@router.get("/v1/documents")
async def list_documents(
    request: Request, query: Search = "", before: Before = None, limit: Limit = 50
) -> DocumentList:
    """Documents whose names hold the words of `query`, the newest first."""
    async with platform_of(request).database.read() as session:
        page, following = await documents.list_documents(session, owner_of(request), query, before, limit)
    return DocumentList(data=[document_head(document) for document in page], next=following)


@router.get("/v1/documents/{document_id}")
async def get_document(request: Request, document_id: PathId) -> DocumentText:
    """A document with its text."""
    async with platform_of(request).database.read() as session:
        found = await documents.find_document(session, owner_of(request), document_id)
    return DocumentText(**document_head(found).model_dump(), text=found.text)


@router.delete("/v1/documents/{document_id}", status_code=204)
async def delete_document(request: Request, document_id: PathId) -> Response:
    """Delete a document; answers that quote it keep what they quoted."""
    async with platform_of(request).database.write() as session:
        await documents.delete_document(session, owner_of(request), document_id)
    return Response(status_code=204)
