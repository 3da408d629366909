"""/v1/deployments: models that run on this machine; for the operator."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tramontane.api.auditing import note
from tramontane.api.authentication import AuthenticatedRoute, require
from tramontane.api.owned import OWNED_RESPONSES, PathId
from tramontane.api.platform import platform_of
from tramontane.api.schemas.catalogue import (
    Deployment,
    DeploymentDraft,
    DeploymentList,
)
from tramontane.catalogue import licences
from tramontane.catalogue.family import find
from tramontane.errors import UnavailableError

if TYPE_CHECKING:  # as in platform.py
    from tramontane.gateway import deployments
    from tramontane.gateway.deployments import Deployments

router = APIRouter(route_class=AuthenticatedRoute, tags=["operator"], responses=OWNED_RESPONSES)


@router.get("/v1/deployments")
async def list_deployments(request: Request) -> DeploymentList:
    """All of them, with the machine's memory."""
    require(request, "operate")
    manager = _manager(request)
    machine = manager.machine()
    return DeploymentList(
        data=[_body(deployment) for deployment in manager.all()],
        memory_total=machine.total,
        memory_available=machine.available,
    )


@router.post("/v1/deployments")
async def create_deployment(request: Request, body: DeploymentDraft) -> Deployment:
    """Pull a model where it is not here, load it, and serve it from now on."""
    principal, platform, manager = require(request, "operate"), platform_of(request), _manager(request)
    plan = manager.plan(body.reference, body.name, body.quantization)
    model = find(plan.reference.repository or plan.reference.text)
    async with platform.database.write() as session:
        if model is not None:
            if body.accept_licence and await licences.accept(session, model, principal.user_id):
                await note(request, session, "licence.accept", "model", model.name, licence=model.licence.name)
            await licences.require_accepted(session, model.name)
        row = await manager.add(session, plan)
        await note(
            request, session, "deployment.create", "deployment", row.id,
            name=row.name, reference=row.reference, quantization=row.quantization,
        )  # fmt: skip
    manager.take_up(row)
    await platform.directory.refresh()
    return _body(manager.get(row.id))


@router.post("/v1/deployments/{deployment_id}/start")
async def start_deployment(request: Request, deployment_id: PathId) -> Deployment:
    """Load it again."""
    require(request, "operate")
    manager = _manager(request)
    manager.check_start(deployment_id)
    async with platform_of(request).database.write() as session:
        row = await manager.keep_state(session, deployment_id, "running")
        await note(request, session, "deployment.start", "deployment", row.id, name=row.name)
    return _body(manager.start(deployment_id))


@router.post("/v1/deployments/{deployment_id}/stop")
async def stop_deployment(request: Request, deployment_id: PathId) -> Deployment:
    """Take it out of memory, once its answers are written."""
    require(request, "operate")
    manager = _manager(request)
    async with platform_of(request).database.write() as session:
        row = await manager.keep_state(session, deployment_id, "stopped")
        await note(request, session, "deployment.stop", "deployment", row.id, name=row.name)
    return _body(manager.stop(deployment_id))


@router.delete("/v1/deployments/{deployment_id}", status_code=204)
async def delete_deployment(request: Request, deployment_id: PathId) -> Response:
    """Forget it; the model's files stay until they are deleted."""
    require(request, "operate")
    platform, manager = platform_of(request), _manager(request)
    async with platform.database.write() as session:
        name = await manager.delete(session, deployment_id)
        await note(request, session, "deployment.delete", "deployment", deployment_id, name=name)
    manager.forget(deployment_id)
    await platform.directory.refresh()
    return Response(status_code=204)


def _manager(request: Request) -> Deployments:
    found = platform_of(request).deployments
    if found is None:
        raise UnavailableError("This server runs no models of its own.", "no_deployments")
    return found


def _body(deployment: deployments.Deployment) -> Deployment:
    return Deployment(**asdict(deployment))
