"""A recipe at work in a folder: tokenizer, corpus, stages, export. What is done is not done again.

run.json            which recipe, and since when
tokenizer/tekken.json
data/               where the lines of the recipe's data files are
corpus/             the sources' text as tokens
held_out/           text of the sources that is not learnt
checkpoints/        the last two
log.jsonl, loss.svg
model/              the result, in the HF layout; native/ in the native one
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tramontane.model.config_hf import to_hf_config
from tramontane.model.layouts import Layout
from tramontane.model.transformer import Transformer
from tramontane.model.weights import canonical_tensors
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import RecipeError, TrainingError
from tramontane.training.export import export_model, model_card, software_versions
from tramontane.training.files import write_json, write_text
from tramontane.training.hardware import EnergyMeter, describe_device, training_dtype
from tramontane.training.initial import initial_model, trainable
from tramontane.training.log import read_log
from tramontane.training.optimizer import Optimizer
from tramontane.training.plot import Point, loss_plot
from tramontane.training.preparation import Preparation
from tramontane.training.ranks import ALONE, Ranks, shard_model
from tramontane.training.recipe import Recipe
from tramontane.training.record import Compute, ModelRecord, TrainingRecord
from tramontane.training.state import RunState, load_state
from tramontane.training.trainer import Control, Trainer, Watcher

STEPS = ("tokenizer", "corpus")
"""What comes before the stages, by the name that `until` has for it."""


@dataclass(frozen=True)
class Run:
    """One recipe in one folder. Raises TrainingError when the folder holds a run of another recipe."""

    recipe: Recipe
    folder: Path
    watcher: Watcher
    control: Control
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        described, base = self.folder / "run.json", self.preparation.base
        if base is not None:
            base.check(max(stage.sequence_length for stage in self.recipe.stage))
        if self.ranks.leads and not described.exists():
            now = datetime.now(UTC).isoformat(timespec="seconds")
            description = {"recipe": self.recipe.name, "digest": self.recipe.digest, "started": now}
            with self._on_disk():
                write_json(described, description | ({} if base is None else {"base": base.described()}))
        self.ranks.gather(None)
        if self._description["digest"] != self.recipe.digest:
            raise TrainingError(
                f"{self.folder} holds a run of the recipe {self._description['recipe']!r} as it was, or of another; "
                "give this one a folder of its own."
            )
        if base is not None and self._description["base"]["digest"] != base.digest:
            raise TrainingError(
                f"The weights in {base.folder} are not those that the run in {self.folder} began with; put these back, "
                "or give the run a folder of its own."
            )

    @property
    def _description(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            known = ("recipe", "digest", "started", *(["base"] if self.recipe.base else []))
            return {key: found[key] for key in known}
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{self.folder / 'run.json'} cannot be read ({error}); give another folder.") from error

    def run(self, until: str | None = None) -> bool:
        """Does all that is left to do, up to the step or stage `until`; False when the control stopped it.

        Raises TramontaneError; of a full disk too, with the command that goes on once there is room.
        """
        with self._on_disk():
            return self._run(until)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """What the disk does not take or give is said in a sentence."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"The run in {self.folder} was stopped by its disk ({error}); its checkpoints are intact: make room, "
                f"or put right what is said, then go on with: {self.control.resume}"
            ) from error

    def _run(self, until: str | None) -> bool:
        known = [*STEPS, *(stage.name for stage in self.recipe.stage)]
        if until is not None and until not in known:
            raise RecipeError(f"There is no step {until!r} to stop after; known are {', '.join(known)}.")
        for drawer in self.preparation.drawers:
            drawer.check()
        if self.ranks.leads and until == "tokenizer":
            self.preparation.tokenizer()
        elif self.ranks.leads:
            self.preparation.everything()
        self.ranks.gather(None)  # the others find it done
        if until in STEPS:
            return True
        tokenizer = self.preparation.tokenizer()
        finished, optimizer, state = self._train(tokenizer, until)
        weights = optimizer.whole_weights()
        if self.ranks.leads and finished and state.stage == len(self.recipe.stage):
            self.export(self._plain_model(weights, tokenizer), state)
        return finished

    @cached_property
    def preparation(self) -> Preparation:
        """What comes before the first step."""
        return Preparation(self.recipe, self.folder, self.watcher)

    # ── training ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _train(self, tokenizer: Tokenizer, until: str | None) -> tuple[bool, Optimizer, RunState]:
        ranks = self.ranks
        model = self._model(tokenizer)
        optimizer, state = Optimizer(model, ranks=ranks), RunState(positions=[0] * ranks.count)
        if loaded := load_state(self.folder / "checkpoints"):
            state, tensors = loaded
            optimizer.load(tensors, state.optimizer_steps)
            self.watcher.say(f"going on from step {state.step}")
        if not any(state.positions):
            state.positions = [0] * ranks.count
        elif len(state.positions) != ranks.count:
            raise TrainingError(
                f"The checkpoint is of {len(state.positions)} processes and this run has {ranks.count}: each has read "
                "samples of its own; go on with as many until the stage has ended."
            )
        drawers = self.preparation.drawers
        trainer = Trainer(
            self.recipe, model, optimizer, state, drawers, self.folder, self.watcher, self.control, ranks
        )  # fmt: skip
        try:
            return trainer.run(until), optimizer, state
        finally:
            if ranks.leads:
                with suppress(OSError):  # on a full disk the picture must not hide what stopped the run
                    self._plot()

    def _model(self, tokenizer: Tokenizer) -> Transformer:
        ranks = self.ranks
        config, base = self.preparation.shape(tokenizer), self.preparation.base
        dtype = training_dtype(ranks.device, config.dim)
        own = dtype if ranks.count == 1 else torch.float32  # sharded parameters stay whole in precision
        if base is None:
            model = initial_model(config, self.recipe.stage[0].seed, own, ranks.device)
        else:
            model = trainable(config, base.checkpoint.read, own, ranks.device)
        if ranks.count > 1:
            shard_model(model, ranks, dtype)
        return model

    def _plain_model(self, weights: dict[str, torch.Tensor], tokenizer: Tokenizer) -> Transformer:
        """The master weights in a model of float32 on the CPU."""
        config = self.preparation.shape(tokenizer)
        model = initial_model(config, 0, torch.float32, torch.device("cpu"))
        for name, parameter in model.named_parameters():
            parameter.data.copy_(weights[name])
        return model

    def _plot(self) -> None:
        points = [Point(report.tokens, report.loss, report.stage) for report in read_log(self.folder / "log.jsonl")]
        write_text(self.folder / "loss.svg", loss_plot(points, self.recipe.name))

    # ── the result ──────────────────────────────────────────────────────────────────────────────────────────────────

    def export(self, model: Transformer, state: RunState) -> None:
        """Writes the model in both layouts, with its card and its record."""
        record = self.record(model, state)
        card = model_card(record, list(self.recipe.languages), self.recipe.description)
        layouts: dict[str, Layout] = {"native": "native", "model": "hf"}
        for name, layout in layouts.items():
            export_model(
                self.folder / name,
                model.config,
                canonical_tensors(model),
                self.preparation.tokenizer_file,
                record,
                card,
                layout=layout,
            )
        self.watcher.say(f"the model is in {self.folder / 'model'}")

    def record(self, model: Transformer, state: RunState) -> TrainingRecord:
        """What the run knows about itself."""
        config, device = model.config, self.ranks.device
        base: dict[str, Any] = self._description.get("base", {})
        parameters = sum(parameter.numel() for parameter in model.parameters())
        tokens = sum(stage.tokens for stage in state.stages)
        return TrainingRecord(
            model=ModelRecord(
                name=self.recipe.model_name or self.recipe.name,
                version=datetime.now(UTC).date().isoformat(),
                architecture=to_hf_config(config)["architectures"][0],
                parameters=parameters,
                context_tokens=config.max_context,
                vocabulary=config.vocab_size,
                layers=config.num_layers,
                dim=config.dim,
                licence=self.recipe.licence,
                base_model=base.get("name"),
                base_model_digest=base.get("digest"),
            ),
            recipe=self.recipe.name,
            recipe_digest=self._description["digest"],
            started=self._description["started"],
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            sources=self.preparation.records(),
            samples=state.samples,
            stages=state.stages,
            compute=Compute(
                flops=6.0 * parameters * tokens,
                wall_seconds=state.wall_seconds,
                device=describe_device(device),
                devices=self.ranks.count,
                device_days=state.wall_seconds * self.ranks.count / 86_400,
                energy_mwh=state.joules * self.ranks.count / 3.6e9,
                energy_method=EnergyMeter(device).method,
            ),
            software=software_versions(),
            base=base.get("record", {}),
        )
