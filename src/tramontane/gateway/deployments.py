"""Models that come to this machine and go while it serves: pulled, loaded, stopped, and there again after a start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.catalogue.bundled import bundled_model
from tramontane.catalogue.family import find
from tramontane.catalogue.local import local_offering
from tramontane.catalogue.prices import make_free_where_unpriced
from tramontane.catalogue.references import Reference, named, parse_published
from tramontane.catalogue.store import ModelStore
from tramontane.catalogue.tables import DeploymentRow, DeploymentState
from tramontane.errors import ConflictError, InvalidRequestError, MissingError, TramontaneError
from tramontane.gateway.providers.local.memory import MachineMemory, num_parameters
from tramontane.gateway.providers.local.provider import LocalProvider
from tramontane.gateway.providers.local.sources import Source, open_reference
from tramontane.model.family import shape
from tramontane.model.linear import Quantization
from tramontane.model.machine import GIB
from tramontane.storage.database import Database

logger = logging.getLogger(__name__)

State = Literal["pulling", "loading", "running", "stopped", "failed"]

QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)
DRAIN_SECONDS = 60.0
"""How long answers of a model that is stopped may take to their end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A model that may be deployed: its reference was understood, its name is free, and it seems to fit."""

    reference: Reference
    quantization: Quantization


@dataclass(slots=True)
class Deployment:
    """A model that runs on this machine, or is to. `id` None: of the command line, it ends with the server."""

    id: str | None
    name: str
    reference: str
    quantization: str
    state: State
    progress: float = 0.0  # of what the state names
    done_bytes: int | None = None  # of a pull
    total_bytes: int | None = None
    message: str | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model needs in memory, and what is left, in bytes."""

    quantization: Quantization
    needed: int
    available: int

    @property
    def fits(self) -> bool:
        """Whether it can be loaded now."""
        return self.needed <= self.available


@dataclass(slots=True, eq=False)
class _Entry:
    """A deployment with what the manager keeps of it. `wanted` False: whoever works on it gives it up."""

    shown: Deployment
    plan: Plan | None  # None: its reference is not understood any more
    wanted: bool = False
    is_queued: bool = False
    is_loaded: bool = False


class _GivenUpError(Exception):
    """It was stopped while it was on its way."""


class Deployments:
    """The models that were deployed at run time. One is pulled or loaded at a time, in the order they were asked for.

    What is asked for is kept in the database by the caller's transaction, and begun once that has committed.
    """

    def __init__(
        self,
        database: Database,
        store: ModelStore,
        provider: LocalProvider,
    ) -> None:
        self._database, self._store, self._provider = database, store, provider
        self.on_change: Callable[[], None] = lambda: None  # called when a model has come or gone
        self._entries: dict[str, _Entry] = {}
        self._queue: asyncio.Queue[_Entry | None] = asyncio.Queue()  # None: the end
        self._current: _Entry | None = None
        self._working: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Reads what was deployed; what was running at the last end waits for `set_to_work`."""
        async with self._database.read() as session:
            rows = (await session.scalars(select(DeploymentRow).order_by(DeploymentRow.id))).all()
        for row in rows:
            self.take_up(row)

    def set_to_work(self) -> None:
        """Once the models of the command line are loaded: from now on pulls and loads what waits."""
        self._working = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Gives up what is on its way; what runs is the provider's to end."""
        for entry in self._entries.values():
            entry.wanted = False
        if self._working is not None:
            self._queue.put_nowait(None)
            await self._working
        for task in self._leaving:
            task.cancel()

    # ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────

    def all(self) -> list[Deployment]:
        """All models of this machine: those of the command line, then what was deployed."""
        held = self._provider.memory()
        cards = {card.name: card for card in self._provider.cards()}
        shown = []
        for entry in self._entries.values():
            deployment = replace(entry.shown, memory_bytes=held.get(entry.shown.name) if entry.is_loaded else None)
            card = cards.get(deployment.name) if entry.is_loaded else None
            if card is not None and card.state == "failed":
                deployment.state, deployment.message = "failed", "Its engine ended; the server's log says why."
            shown.append(deployment)
        deployed = {entry.shown.name for entry in self._entries.values()}
        states: dict[str, State] = {"ready": "running", "loading": "loading", "failed": "failed"}
        started = [
            Deployment(
                None, name, name, card.quantization, states[card.state], card.progress, memory_bytes=held.get(name)
            )
            for name, card in cards.items()
            if name not in deployed
        ]
        return started + shown

    def get(self, deployment_id: str) -> Deployment:
        """One that was deployed; raises MissingError."""
        self._entry(deployment_id)
        return next(deployment for deployment in self.all() if deployment.id == deployment_id)

    def on_the_way(self) -> frozenset[str]:
        """The deployed models that serve nobody yet, or no longer: what a server is ready without."""
        return frozenset(entry.shown.name for entry in self._entries.values() if entry.shown.state != "running")

    def machine(self) -> MachineMemory:
        """This machine's memory."""
        return self._provider.machine()

    def fits(self, parameters: int) -> list[Fit]:
        """What a model with so many parameters needs, by quantisation."""
        available = self.machine().available
        return [Fit(each, self._provider.needed(parameters, each), available) for each in QUANTIZATIONS]

    # ── what is asked for ───────────────────────────────────────────────────────────────────────────────────────────

    def plan(self, reference: str, name: str | None, quantization: Quantization) -> Plan:
        """Raises InvalidRequestError for what is no model, ConflictError for a taken name and for what cannot fit."""
        try:
            parsed = parse_published(reference, self._store.home)
            parsed = parsed if name is None else named(parsed, name)
        except TramontaneError as error:
            raise InvalidRequestError("reference" if name is None else "name", str(error)) from error
        taken = {entry.shown.name for entry in self._entries.values()} | set(self._provider.names())
        if parsed.name in taken:
            raise ConflictError(f"A model called {parsed.name!r} is deployed already: choose another name.")
        plan = Plan(parsed, quantization)
        self._check_room(plan, self._parameters(parsed))
        return plan

    async def add(self, session: AsyncSession, plan: Plan) -> DeploymentRow:
        """Keeps it for this run and the next, with an offering that is free where nobody has set a price."""
        name = plan.reference.name
        offering = await local_offering(session, name)  # which locks this machine's row: one is added at a time
        if await session.scalar(select(DeploymentRow.id).where(DeploymentRow.name == name)):
            raise ConflictError(f"A model called {name!r} is deployed already: choose another name.")
        row = DeploymentRow(name=name, reference=plan.reference.text, quantization=plan.quantization)
        session.add(row)
        offering.enabled = True
        await make_free_where_unpriced(session, offering.id)
        await session.flush()
        return row

    def take_up(self, row: DeploymentRow) -> None:
        """Once its row has been committed: it is pulled where it is not here, and loaded, as soon as its turn comes."""
        shown = Deployment(row.id, row.name, row.reference, row.quantization, "stopped")
        quantization: Any = row.quantization  # by the schema one of Quantization
        try:
            plan = Plan(named(parse_published(row.reference, self._store.home), row.name), quantization)
        except TramontaneError as error:  # a later version may know other names
            shown.state, shown.message = "failed", str(error)
            self._entries[row.id] = _Entry(shown, None)
            return
        entry = self._entries[row.id] = _Entry(shown, plan)
        if row.state == "running":
            self._enqueue(entry)

    def check_start(self, deployment_id: str) -> None:
        """Raises MissingError, and ConflictError where it runs, is on its way, or cannot fit."""
        entry = self._entry(deployment_id)
        name, state = entry.shown.name, self.get(deployment_id).state
        if entry is self._current or (state == "running" and not entry.wanted):
            raise ConflictError(f"{name} is being worked on: try again when that has ended.")
        if state in ("running", "loading", "pulling"):
            raise ConflictError(f"{name} is {state} already.")
        if entry.plan is not None:
            self._check_room(entry.plan, self._parameters(entry.plan.reference))

    def start(self, deployment_id: str) -> Deployment:
        """Once it is kept that it should run; of two who start it at once, the second finds it on its way."""
        if self.get(deployment_id).state in ("stopped", "failed"):
            self._enqueue(self._entry(deployment_id))
        return self.get(deployment_id)

    def stop(self, deployment_id: str) -> Deployment:
        """Once it is kept that it should not run: nobody new is served, and it goes when its answers are written."""
        entry = self._entry(deployment_id)
        self._give_up(entry)
        return self.get(deployment_id)

    def forget(self, deployment_id: str) -> None:
        """Once its row is gone; of two who delete it at once, the second finds nothing more to do."""
        if (entry := self._entries.pop(deployment_id, None)) is not None:
            self._give_up(entry)

    async def keep_state(self, session: AsyncSession, deployment_id: str, state: DeploymentState) -> DeploymentRow:
        """Whether it should run after the next start, too. Raises MissingError."""
        row = await session.get(DeploymentRow, deployment_id)
        if row is None or deployment_id not in self._entries:
            raise _missing()
        row.state = state
        return row

    async def delete(self, session: AsyncSession, deployment_id: str) -> str:
        """Takes it out of the database, and its offering out of service; its name. Raises MissingError."""
        entry = self._entry(deployment_id)
        await session.execute(delete(DeploymentRow).where(DeploymentRow.id == deployment_id))
        offering = await local_offering(session, entry.shown.name)
        offering.enabled = False
        return entry.shown.name

    # ── the work ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _enqueue(self, entry: _Entry) -> None:
        if entry.plan is None:
            return
        entry.wanted, entry.shown.progress, entry.shown.message = True, 0.0, None
        entry.shown.state = "loading" if self._is_here(entry.plan.reference) else "pulling"
        if self._current is not None or not self._queue.empty():
            entry.shown.message = "It waits until the models before it are here."
        if not entry.is_queued:
            entry.is_queued = True
            self._queue.put_nowait(entry)

    def _give_up(self, entry: _Entry) -> None:
        if not entry.wanted and (entry is self._current or entry.is_loaded):
            return  # it is on its way out
        entry.wanted = False
        if entry is self._current:
            entry.shown.message = "It is being given up."
        elif entry.is_loaded:
            entry.shown.message = "Its last answers are being written."
            task = asyncio.create_task(self._take_down(entry, DRAIN_SECONDS))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        else:
            entry.shown.state, entry.shown.message = "stopped", None

    async def _work(self) -> None:
        while (entry := await self._queue.get()) is not None:
            entry.is_queued = False
            if entry.wanted:
                self._current = entry
                await self._bring_up(entry)
                self._current = None

    async def _bring_up(self, entry: _Entry) -> None:
        shown = entry.shown
        try:
            await self._pull_and_load(entry)
            shown.state = "running"
        except _GivenUpError:
            shown.state, shown.message = "stopped", None
        except TramontaneError as error:
            shown.state, shown.message = "failed", str(error)
            logger.warning("%s could not be deployed: %s", shown.name, error)
        except Exception:
            shown.state, shown.message = "failed", "It could not be loaded; the server's log says why."
            logger.exception("%s could not be deployed", shown.name)
        self._tell()

    async def _pull_and_load(self, entry: _Entry) -> None:
        assert entry.plan is not None
        reference, shown = entry.plan.reference, entry.shown
        if entry.is_loaded:  # its engine ended
            await self._take_down(entry, 0.0)
        if not self._is_here(reference):
            shown.state, shown.message = "pulling", None
            await asyncio.to_thread(self._pull, entry)
        shown.state, shown.progress, shown.message = "loading", 0.0, None
        source = await asyncio.to_thread(open_reference, reference)
        self._check_room(entry.plan, num_parameters(source.config), source)
        self._provider.add(source, entry.plan.quantization)
        self._tell()

        def report(name: str, done: int, total: int) -> None:
            shown.progress = done / total
            _check_wanted(entry)

        try:
            notices = await asyncio.to_thread(self._provider.load_one, shown.name, report)
            _check_wanted(entry)
        except BaseException:
            await self._provider.remove(shown.name, 0.0)
            raise
        entry.is_loaded, shown.message = True, " ".join(notices) or None

    def _pull(self, entry: _Entry) -> None:
        from tramontane.catalogue import hub  # its HTTP client is slow to import, and most servers never pull

        assert entry.plan is not None
        assert entry.plan.reference.repository is not None
        hub.pull(entry.plan.reference.repository, self._store, progress=_Pulling(entry))

    async def _take_down(self, entry: _Entry, patience: float) -> None:
        await self._provider.remove(entry.shown.name, patience)
        entry.is_loaded = False
        entry.shown.state, entry.shown.progress, entry.shown.message = "stopped", 0.0, None
        self._tell()

    def _tell(self) -> None:
        try:
            self.on_change()
        except Exception:  # such as a full disk; the models serve all the same
            logger.exception("that a model came or went could not be announced")

    # ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _entry(self, deployment_id: str) -> _Entry:
        if deployment_id not in self._entries:
            raise _missing()
        return self._entries[deployment_id]

    def _is_here(self, reference: Reference) -> bool:
        return reference.repository is None or self._store.find(reference.repository) is not None

    def _parameters(self, reference: Reference) -> int | None:
        """As far as it is known before the model is here."""
        if reference.shape is not None:
            return num_parameters(shape(reference.shape))
        if reference.repository is None:
            return bundled_model().parameters
        here, known = self._store.find(reference.repository), find(reference.repository)
        return (here.parameters if here else None) or (known.parameters if known else None)

    def _check_room(self, plan: Plan, parameters: int | None, source: Source | None = None) -> None:
        """Raises ConflictError where the memory that is left is certainly too little."""
        if parameters is None:
            return
        needed, machine = self._provider.needed(parameters, plan.quantization, source), self.machine()
        if needed <= machine.available:
            return
        advice = "stop another model first" if needed <= machine.total else "choose a smaller model"
        if plan.quantization == "none":
            advice += ", or quantization int8"
        raise ConflictError(
            f"{plan.reference.name} needs about {needed / GIB:.1f} GiB of memory and {machine.available / GIB:.1f} GiB "
            f"of {machine.total / GIB:.1f} GiB are left: {advice}."
        )


class _Pulling:
    """Shows a pull in its deployment, and ends it where it is not wanted any more. Called from a thread."""

    def __init__(self, entry: _Entry) -> None:
        self._entry = entry
        self._done: dict[str, int] = {}

    def say(self, sentence: str) -> None:
        self._entry.shown.message = sentence

    def expect(self, total: int) -> None:
        self._entry.shown.total_bytes = total

    def update(self, path: str, total: int, done: int) -> None:
        _check_wanted(self._entry)
        self._done[path] = done
        shown = self._entry.shown
        shown.done_bytes = sum(self._done.values())
        shown.progress = min(1.0, shown.done_bytes / max(1, shown.total_bytes or 1))


def _check_wanted(entry: _Entry) -> None:
    if not entry.wanted:
        raise _GivenUpError


def _missing() -> MissingError:
    return MissingError("There is no such deployment.")
