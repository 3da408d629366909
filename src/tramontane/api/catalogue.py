"""/v1/catalogue: which models exist, what is known of them, and what became of them here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AfterValidator
from starlette.requests import Request

from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.catalogue_bodies import CatalogueView
from tramontane.api.owned import OWNED_RESPONSES
from tramontane.api.platform import Platform, platform_of
from tramontane.api.schemas.catalogue import Catalogue, CatalogueModel, LifecycleChange
from tramontane.catalogue import licences
from tramontane.catalogue.bundled import BUNDLED_MODEL
from tramontane.catalogue.family import find
from tramontane.catalogue.lifecycle import Lifecycle, changed, decide, lifecycle_of, row_to_change
from tramontane.conversations.plain_text import storable
from tramontane.errors import ConflictError, InvalidRequestError, MissingError
from tramontane.storage.base import now

router = APIRouter(route_class=AuthenticatedRoute, tags=["catalogue"], responses=OWNED_RESPONSES)

ModelName = Annotated[str, Path(max_length=200), AfterValidator(storable)]


@router.get("/v1/catalogue")
async def get_catalogue(request: Request) -> Catalogue:
    """All models."""
    return Catalogue(data=(await CatalogueView.read(request)).all())


# Names hold slashes, and clients send them unescaped.
@router.get("/v1/catalogue/{name:path}")
async def get_catalogue_model(request: Request, name: ModelName) -> CatalogueModel:
    """One model, by its name or an alias."""
    return await _one(request, name)


@router.put("/v1/catalogue/{name:path}/lifecycle")
async def set_lifecycle(request: Request, name: ModelName, body: LifecycleChange) -> CatalogueModel:
    """Decide where a model stands; for the operator."""
    require(request, "operate")
    platform = platform_of(request)
    model = _known_name(platform, name)
    _check_replacement(platform, model, body.replacement)
    wish = Lifecycle(body.stage, body.legacy_at, body.deprecated_at, body.retired_at, body.replacement)
    async with platform.database.write() as session:
        row = await row_to_change(session, model, platform.directory.lifecycle(model))
        before = lifecycle_of(row)
        after = changed(before, wish, now())
        decide(row, after)
        dates = {field: date and date.isoformat() for field, date in after.dates().items()}
        await note(
            request, session, "model.lifecycle", "model", model,
            before=before.stage, stage=after.stage, replacement=after.replacement, **dates,
        )  # fmt: skip
    await platform.directory.refresh()
    return await _one(request, model)


@router.post("/v1/catalogue/{name:path}/licence")
async def accept_licence(request: Request, name: ModelName) -> CatalogueModel:
    """Record that its licence was read and is accepted; for the operator."""
    principal, model = require(request, "operate"), find(name)
    if model is None or not model.licence.needs_acceptance:
        if model is None and name != BUNDLED_MODEL:
            raise MissingError("There is no such model in the catalogue.")
        raise ConflictError("The licence of this model needs no acceptance.")
    async with platform_of(request).database.write() as session:
        if await licences.accept(session, model, principal.user_id):
            await note(request, session, "licence.accept", "model", model.name, licence=model.licence.name)
    return await _one(request, name)


async def _one(request: Request, name: str) -> CatalogueModel:
    found = (await CatalogueView.read(request)).one(name)
    if found is None:
        raise MissingError("There is no such model in the catalogue.")
    return found


def _known_name(platform: Platform, name: str) -> str:
    """The name by which a model's life is kept: the family's, or what it is offered as. Raises MissingError."""
    model = find(name)
    if model is not None:
        return model.name
    if name != BUNDLED_MODEL and not platform.directory.offerings(name):
        raise MissingError("There is no such model in the catalogue.")
    return name


def _check_replacement(platform: Platform, model: str, replacement: str | None) -> None:
    if replacement is None:
        return
    try:
        if _known_name(platform, replacement) != model:
            return
    except MissingError:
        raise InvalidRequestError("replacement", f"No model is called {replacement!r} in the catalogue.") from None
    raise InvalidRequestError("replacement", "A model cannot replace itself.")
