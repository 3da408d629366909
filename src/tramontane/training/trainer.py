"""The training loop: draw, compute, update, report, keep; from wherever the last checkpoint stands."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from tramontane.model.transformer import Transformer
from tramontane.training.drawing import Drawer
from tramontane.training.errors import TrainingError
from tramontane.training.feed import Feed, Shard
from tramontane.training.hardware import EnergyMeter, matrix_rate
from tramontane.training.log import Log, StepReport, read_log
from tramontane.training.objective import weighted_loss
from tramontane.training.optimizer import Optimizer, Rates
from tramontane.training.packing import pack, split
from tramontane.training.ranks import ALONE, Ranks
from tramontane.training.recipe import Recipe, StageRecipe
from tramontane.training.record import SampleRecord, StageRecord
from tramontane.training.rendering import Document
from tramontane.training.schedule import rate_factor
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
    """How a run is driven. `stop()` is asked after each step; `resume` is the command that goes on after a stop."""

    stop: Callable[[], bool]
    resume: str
    workers: int = 0


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
        self._log = Log(folder / "log.jsonl", state.step) if ranks.leads else None
        self._energy = EnergyMeter(model.device)
        self._rate = matrix_rate(model.device, model.dtype) * ranks.count
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        self._counted: dict[tuple[str, str], SampleRecord] = {}  # by this process, since the last checkpoint
        self._broken_steps = 0
        self._clock = self._kept = time.monotonic()

    def run(self, until: str | None = None) -> bool:
        """Trains until all stages (those up to `until`) are done: True; or until the control says stop: False."""
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
        with Feed(drawer, state.positions[shard.index], workers=self._control.workers, shard=shard) as feed:
            while state.tokens_in_stage < stage.tokens:
                self._step(stage, feed.step(max(stage.batch_tokens // shard.count, stage.sequence_length)))
                state.positions[shard.index] = feed.position
                stop, keep = self._agree(
                    self._control.stop(), time.monotonic() - self._kept > self.recipe.checkpoint_seconds
                )
                if stop:
                    return False
                if keep:
                    self._keep()
        return True

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

    def _step(self, stage: StageRecipe, documents: list[Document]) -> None:
        factor = rate_factor(self.state.tokens_in_stage / stage.tokens, stage.warmup, stage.warmdown)
        loss, work = self._gradients(documents)
        norm = self.optimizer.step(
            Rates(stage.learning_rate * factor, stage.muon_learning_rate * factor, stage.weight_decay), stage.clip
        )
        self._broken_steps = 0 if math.isfinite(norm) else self._broken_steps + 1
        if self._broken_steps == _MOST_BROKEN_STEPS:
            raise TrainingError(
                f"The gradients of {_MOST_BROKEN_STEPS} steps were not finite at step {self.state.step}; lower the "
                f"learning rates, then go on from the last checkpoint with: {self._control.resume}"
            )
        self._account(stage, documents, loss, norm, factor, work)

    def _gradients(self, documents: list[Document]) -> tuple[float, float]:
        """Collects the gradients of the mean loss of all learnt tokens; returns it, and the operations it took."""
        limit = _TOKENS_AT_ONCE[self.model.device.type]
        batches = [pack(group) for group in split(documents, limit)]
        (total,) = self._ranks.sum(sum(float(batch.weights.sum()) for batch in batches))
        losses, work = [], 0.0
        for number in range(max(self._ranks.gather(len(batches)))):
            # A pass is made by all processes together: one that has no more documents repeats its last for nothing.
            batch, counts = batches[min(number, len(batches) - 1)], number < len(batches)
            loss = weighted_loss(self.model, batch.to(self.model.device)) * (counts / total)
            (loss * self._ranks.count).backward()  # FSDP2 takes the mean over the processes
            self.optimizer.collect()
            losses.append(loss.detach())
            work += self._work(batch.lengths, len(batch.rows))
        return float(torch.stack(losses).sum()), work

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
        record.learnt_tokens += int((document.weights[1:] != 0).sum())

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
