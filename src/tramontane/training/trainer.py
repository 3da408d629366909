"""The training loop: draw, compute, update, report, keep; from wherever the last checkpoint stands."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tramontane.model.transformer import Transformer
from tramontane.training.compiled import Forward, compiled_forward
from tramontane.training.drawing import Drawer
from tramontane.training.errors import TrainingError
from tramontane.training.feed import Feed, Shard, Workers
from tramontane.training.hardware import EnergyMeter, matrix_rate
from tramontane.training.log import Log, StepReport, read_log
from tramontane.training.objective import weighted_loss
from tramontane.training.optimizer import Optimizer, Rates
from tramontane.training.packing import Batch, pack
from tramontane.training.ranks import ALONE, Ranks
from tramontane.training.recipe import Recipe, StageRecipe
from tramontane.training.record import SampleRecord, StageRecord
from tramontane.training.rendering import Document
from tramontane.training.schedule import Pace, rate_factor
from tramontane.training.state import RunState, save_state

# Tokens of one forward and backward pass: enough to fill the device, few enough for its caches or its memory.
_TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 65_536}
_SHOWN = 2  # documents of a stage that are shown before it begins
_MOST_BROKEN_STEPS = 10


class Watcher(Protocol):
    """Who is told how the run goes."""

    def say(self, sentence: str) -> None:
        """What is being done."""

    def show(self, document: Document) -> None:
        """A document, before a stage begins: which of its tokens are learnt."""

    def step(self, report: StepReport) -> None:
        """A step is done."""


@dataclass(frozen=True)
class Control:
    """How a run is driven. `stop()` is asked after each step; `resume` is the command that goes on after a stop.

    With a `deadline`, a time of the monotonic clock, stages end early, each in proportion, so that the run ends by then
    with its rates at zero as the recipe has them.
    """

    stop: Callable[[], bool]
    resume: str
    workers: int = 0
    deadline: float | None = None


@dataclass(frozen=True)
class _Read:
    """The documents of a step in passes, and where the feed stands behind them."""

    documents: list[Document]
    batches: list[Batch]
    position: int


class Trainer:
    """Trains `model` by the recipe's stages, beginning at `state`, which moves with it. Checkpoints go to `folder`."""

    def __init__(
        self,
        recipe: Recipe,
        model: Transformer,
        optimizer: Optimizer,
        state: RunState,
        drawers: list[Drawer],
        folder: Path,
        watcher: Watcher,
        control: Control,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.model, self.optimizer, self.state = recipe, model, optimizer, state
        self._drawers, self._folder, self._watcher, self._control = drawers, folder, watcher, control
        self._ranks = ranks
        # The pieces that are compiled read whole weights, which a sharded model has in its own forward pass alone.
        compiles = model.device.type == "cuda" and model.config.moe is None and ranks.count == 1
        self._forward: Forward | None = compiled_forward(model) if compiles else None
        self._compiled = False
        self._workers = Workers(drawers, control.workers)
        self._log = Log(folder / "log.jsonl", state.step) if ranks.leads else None
        self._energy = EnergyMeter(model.device)
        self._rate = matrix_rate(model.device, model.dtype) * ranks.count
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        self._counted: dict[tuple[str, str], SampleRecord] = {}  # by this process, since the last checkpoint
        self._broken_steps = 0
        self._clock = self._kept = time.monotonic()

    def run(self, until: str | None = None) -> bool:
        """Trains until all stages (those up to `until`) are done: True; or until the control says stop: False."""
        with self._workers:
            self._clock = self._kept = time.monotonic()
            while self.state.stage < len(self.recipe.stage):
                stage = self.recipe.stage[self.state.stage]
                if not self._run_stage(stage):
                    self._keep()
                    return False
                self._end_stage(stage)
                self._keep()
                if stage.name == until:
                    break
        return True

    def _run_stage(self, stage: StageRecipe) -> bool:
        state, drawer = self.state, self._drawers[self.state.stage]
        self._show(drawer)
        shard = Shard(self._ranks.index, self._ranks.count)
        with Feed(drawer, state.positions[shard.index], workers=self._workers, shard=shard) as feed:
            following = self._read(feed, stage)
            self._compile(following.batches[0])
            pace = self._pace()
            while state.progress < 1:
                read = following
                loss, work = self._gradients(read.batches)
                following = self._read(feed, stage)  # while a GPU computes
                self._update(stage, read, float(loss), work, pace)
                state.positions[shard.index] = read.position
                stop, keep = self._agree(
                    self._control.stop(), time.monotonic() - self._kept > self.recipe.checkpoint_seconds
                )
                if stop:
                    return False
                if keep:
                    self._keep()
        return True

    def _compile(self, batch: Batch) -> None:
        """One pass for nothing, of the first batch: what it takes to compile is no stage's time."""
        if self._forward is not None and not self._compiled:
            weighted_loss(self.model, batch.to(self.model.device), self._forward).backward()
            self.model.zero_grad()
            torch.cuda.synchronize(self.model.device)
            self._compiled = True

    def _pace(self) -> Pace:
        deadline, state = self._control.deadline, self.state
        if deadline is None:
            return Pace()
        left = [stage.tokens for stage in self.recipe.stage[state.stage :]]
        return Pace.until(deadline, time.monotonic(), state.progress, left)

    def _read(self, feed: Feed, stage: StageRecipe) -> _Read:
        """The next step's documents: as many passes as make its tokens, each as full as it gets."""
        share = stage.batch_tokens // self._ranks.count
        size = max(min(share, _TOKENS_AT_ONCE[self.model.device.type]), stage.sequence_length)
        passes = [feed.step(size) for _ in range(max(1, share // size))]
        batches = [pack(documents, size if self._forward else 0) for documents in passes]
        return _Read([document for documents in passes for document in documents], batches, feed.position)

    def _agree(self, *wishes: bool) -> list[bool]:
        """What one process wishes, all do."""
        return [wished > 0 for wished in self._ranks.sum(*wishes)]

    def _show(self, drawer: Drawer) -> None:
        if not self._ranks.leads:
            return
        shown = (drawer.draw(place) for place in range(20 * _SHOWN))
        documents = [document for document in shown if document is not None]
        for document in documents[:_SHOWN]:
            self._watcher.show(document)

    def _gradients(self, batches: list[Batch]) -> tuple[Tensor, float]:
        """Collects the gradients of the mean loss of all learnt tokens; returns it, and the operations it took.

        A GPU is still at work on them then.
        """
        (total,) = self._ranks.sum(sum(float(batch.weights.sum()) for batch in batches))
        losses, work = [], 0.0
        for batch in batches:  # each pass is made by all processes together
            loss = weighted_loss(self.model, batch.to(self.model.device), self._forward) / total
            (loss * self._ranks.count).backward()  # FSDP2 takes the mean over the processes
            self.optimizer.collect()
            losses.append(loss.detach())
            work += self._work(batch.lengths, len(batch.rows))
        return torch.stack(losses).sum(), work

    def _update(self, stage: StageRecipe, read: _Read, loss: float, work: float, pace: Pace) -> None:
        """The step itself, and what is to be remembered of it."""
        factor = rate_factor(self.state.progress, stage.warmup, stage.warmdown)
        norm = self.optimizer.step(
            Rates(stage.learning_rate * factor, stage.muon_learning_rate * factor, stage.weight_decay), stage.clip
        )
        self._broken_steps = 0 if math.isfinite(norm) else self._broken_steps + 1
        if self._broken_steps == _MOST_BROKEN_STEPS:
            raise TrainingError(
                f"The gradients of {_MOST_BROKEN_STEPS} steps were not finite at step {self.state.step}; lower the "
                f"learning rates, then go on from the last checkpoint with: {self._control.resume}"
            )
        self._account(stage, read.documents, loss, norm, factor, work)
        (by_clock,) = self._ranks.sum(pace.at(time.monotonic()) / self._ranks.count)  # all end a stage together
        self.state.progress = max(self.state.tokens_in_stage / stage.tokens, by_clock)

    def _work(self, lengths: list[int], rows: int) -> float:
        """Floating-point operations of a pass forward and back: matrices, scored rows, causal attention."""
        config = self.model.config
        table = config.vocab_size * config.dim
        layers = self._parameters - table * (1 if config.tied_embeddings else 2)
        attention = config.num_layers * config.num_heads * config.head_dim * sum(length**2 for length in lengths)
        return 6.0 * (layers * sum(lengths) + table * rows + attention)

    def _account(
        self, stage: StageRecipe, documents: list[Document], loss: float, norm: float, factor: float, work: float
    ) -> None:
        state, now = self.state, time.monotonic()
        seconds, self._clock = now - self._clock, now
        loss, tokens, work = self._ranks.sum(loss, sum(map(len, documents)), work)
        for document in documents:
            self._count(document)
        state.step += 1
        state.steps_in_stage += 1
        state.tokens_in_stage += int(tokens)
        state.wall_seconds += seconds
        state.joules += self._energy.joules()
        before = sum(record.tokens for record in state.stages)
        report = StepReport(
            step=state.step,
            stage=stage.name,
            tokens=before + state.tokens_in_stage,
            tokens_in_stage=state.tokens_in_stage,
            loss=round(loss, 5),
            gradient_norm=round(norm, 5),
            rate_factor=round(factor, 4),
            tokens_per_second=round(tokens / seconds, 1),
            matrix_share=round(work / seconds / self._rate, 4),
            wall_seconds=round(state.wall_seconds, 2),
        )
        if self._log is not None:
            self._log.write(report)
            self._watcher.step(report)

    def _count(self, document: Document) -> None:
        key = document.kind, document.language
        record = self._counted.setdefault(key, SampleRecord(*key))
        record.samples += 1
        record.tokens += len(document)
        record.learnt_tokens += int(np.count_nonzero(document.weights[1:]))

    def _end_stage(self, stage: StageRecipe) -> None:
        state = self.state
        self._ranks.gather(None)  # the log is whole before it is read
        last = [
            report.loss
            for report in read_log(self._folder / "log.jsonl")
            if report.stage == stage.name and report.tokens_in_stage > 0.9 * state.tokens_in_stage
        ]
        state.stages.append(
            StageRecord(
                name=stage.name,
                tokens=state.tokens_in_stage,
                steps=state.steps_in_stage,
                sequence_length=stage.sequence_length,
                loss=sum(last) / len(last) if last else None,
            )
        )
        state.begin_stage(state.stage + 1, self._ranks.count)

    def _keep(self) -> None:
        state, ranks = self.state, self._ranks
        state.optimizer_steps = self.optimizer.steps
        state.positions = ranks.gather(state.positions[ranks.index])
        for counted in ranks.gather(list(self._counted.values())):
            _add(state.samples, counted)
        self._counted.clear()
        tensors = self.optimizer.state()
        if ranks.leads:
            save_state(self._folder / "checkpoints", state, tensors, self._control.resume)
        self._kept = time.monotonic()


def _add(records: list[SampleRecord], counted: list[SampleRecord]) -> None:
    by_key = {(record.kind, record.language): record for record in records}
    for one in counted:
        if (one.kind, one.language) not in by_key:
            by_key[one.kind, one.language] = SampleRecord(one.kind, one.language)
            records.append(by_key[one.kind, one.language])
        record = by_key[one.kind, one.language]
        record.samples += one.samples
        record.tokens += one.tokens
        record.learnt_tokens += one.learnt_tokens
