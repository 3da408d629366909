"""GET /v1/models, GET and DELETE /v1/models/{id}."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request

from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.errors import RESPONSES
from tramontane.api.platform import platform_of, principal_of
from tramontane.api.schemas.models import Capabilities, Card, CardList, Deleted
from tramontane.catalogue.directory import Resolved
from tramontane.catalogue.running import is_served
from tramontane.catalogue.store import ModelStore
from tramontane.errors import InvalidRequestError, TramontaneError, UnknownModelError
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.requests import DEFAULT_TEMPERATURE

router = APIRouter(route_class=AuthenticatedRoute, tags=["models"], responses=RESPONSES)


@router.get("/v1/models")
async def list_models(request: Request) -> CardList:
    """The models that are served here."""
    cards = platform_of(request).gateway.cards(principal_of(request))
    directory = platform_of(request).directory
    aliases = directory.aliases()
    return CardList(
        object="list", data=[_card(card, directory.resolve(card.name), aliases.get(card.name, [])) for card in cards]
    )


# Names hold slashes, and clients send them unescaped.
@router.get("/v1/models/{model_id:path}")
async def get_model(request: Request, model_id: str) -> Card:
    """The card of one model."""
    platform = platform_of(request)
    card, directory = platform.gateway.card(model_id, principal_of(request)), platform.directory
    return _card(card, directory.resolve(card.name), directory.aliases().get(card.name, []))


@router.delete("/v1/models/{model_id:path}")
async def delete_model(request: Request, model_id: str) -> Deleted:
    """Delete the files of a model that was pulled to this machine and is not served now."""
    platform = platform_of(request)
    require(request, "operate")
    pulled = _is_pulled(platform.store, model_id)
    is_in_use = any(card.name == model_id for card in platform.gateway.cards())
    if pulled:  # it may be served under another name, and by another server of this home
        is_in_use |= is_served(platform.store.home, platform.store.folder(model_id))
    if is_in_use:
        raise InvalidRequestError("model_id", f"{model_id!r} is being served: stop it first.")
    if not pulled:
        raise UnknownModelError(f"No model {model_id[:200]!r} was pulled to this machine.")
    try:
        await asyncio.to_thread(platform.store.delete, model_id)
    except TramontaneError as error:  # just now it is being pulled again
        raise InvalidRequestError("model_id", str(error)) from error
    async with platform.database.write() as session:
        await note(request, session, "model.delete", "model", model_id)
    return Deleted(id=model_id, object="model", deleted=True)


def _is_pulled(store: ModelStore, name: str) -> bool:
    try:
        return store.find(name) is not None
    except TramontaneError:  # no model that was pulled can have such a name
        return False


def _card(card: ModelCard, resolved: Resolved, aliases: list[str]) -> Card:
    return Card(
        id=card.name,
        created=card.created,
        owned_by=card.owned_by,
        name=card.name,
        description=card.description,
        max_context_length=card.max_context,
        aliases=aliases,
        deprecation=resolved.deprecated_at,
        deprecation_replacement_model=resolved.replacement,
        capabilities=Capabilities(
            completion_chat=card.chat,
            completion_fim=card.fim,
            function_calling=card.tools,
            reasoning=card.thinking,
        ),
        default_model_temperature=DEFAULT_TEMPERATURE,
        parameters=card.num_parameters,
        quantization=card.quantization,
        embedding_pooling=card.pooling,
        tokenizer=card.tokenizer,
        state=card.state,
        progress=card.progress,
        licence=card.licence,
        languages=list(card.languages),
        location=card.location,
        summary=card.summary,
    )
