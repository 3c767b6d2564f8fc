"""One run, stage after stage: prepare, profile, train, evaluate, record.

runs/<run_id>/
  config.json               what was asked for, resolved
  cost.json                 parameters, operations, times, memory
  loss.csv                  one line per step
  checkpoints/              the newest two
  curve.json                quality during training
  attention.json            what attention=auto chose, for --resume
  samples.npz, real.npz     clips for the report
  features.npz              of every judged clip
  result.json               the record, written last
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from stbench.data.loading import training_batches
from stbench.errors import FinishedInPart, StbenchError
from stbench.profiling.profile import Workload, compile_in_place, profile_backbone
from stbench.progress import console, progress_bar
from stbench.records.schema import Record
from stbench.records.sections import AttentionChoice
from stbench.records.store import read_record, write_record
from stbench.run.evaluation import Evaluation, Evaluator
from stbench.run.folder import RunFolder
from stbench.run.setup import Setup, prepare
from stbench.runtime.device import Runtime
from stbench.runtime.machine import is_out_of_memory, machine_fingerprint, software_versions
from stbench.settings.schema import RunConfig
from stbench.storage.files import write_json
from stbench.training.checkpoint import TrainingState, list_checkpoints, load_checkpoint
from stbench.training.divergence import TrainingDiverged
from stbench.training.loop import TrainingJob, new_state, train
from stbench.training.start import initialise_from


def run(config: RunConfig, out: Path, resume: bool = False) -> Path:
    """Train, sample and measure one configuration.

    Args:
        config: what to run.
        out: the folder of runs; this one gets a folder of its own in it.
        resume: go on from the newest checkpoint; of a finished run, do nothing.

    Returns:
        The run's folder, which holds the record.

    Raises:
        StbenchError: when something is missing or does not fit, before anything is written.
        FinishedInPart: when training diverged or memory ran out; the record says so.
    """
    folder = RunFolder(out / config.run_id)
    if _is_finished(folder, resume):
        return folder.path
    stages = RunStages(prepare(config), folder)
    with stages.recording_failures():
        cost = stages.profile()
        state = stages.initial_state()
        folder.begin(config, cost)
        stages.train(state)
        evaluation = stages.evaluate(state)
        stages.write_result(evaluation)
    return folder.path


class RunStages:
    """The stages of one run. Each leaves a file, which the last one gathers into the record."""

    def __init__(self, setup: Setup, folder: RunFolder) -> None:
        self.setup, self.folder = setup, folder
        self.settings = setup.config.settings
        self.evaluator = self.curve_evaluator = Evaluator(setup)
        if setup.during_training.protocol != setup.protocol:
            self.curve_evaluator = Evaluator(setup.during_training)
        self._kept_choices = 0
        self.job = TrainingJob(
            config=self.settings.train,
            objective=self.settings.diffusion.objective,
            timestep_density=self.settings.diffusion.timestep_density,
            seed=self.settings.seed,
            num_classes=setup.dataset.num_classes,
            runtime=setup.runtime,
            autoencoder=setup.autoencoder,
            folder=folder.path,
            config_hash=setup.config.config_hash,
        )

    @contextlib.contextmanager
    def recording_failures(self) -> Iterator[None]:
        """Leave a record of a run that was begun and did not come to its end.

        Running out of memory is a result even before the run is begun; anything else that goes wrong so early is a
        mistake in what was asked for, and leaves nothing behind.
        """
        try:
            yield
        except TrainingDiverged as error:
            self.write_failure("nan", str(error))
            raise FinishedInPart(f"{self.folder.path}: {error}") from error
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            if is_out_of_memory(error):
                self.write_failure("oom", f"out of memory: {reason}")
                raise FinishedInPart(f"{self.folder.path}: out of memory: {reason}") from error
            if self.folder.path.exists():
                self.write_failure("failed", reason)
            raise

    def profile(self) -> dict[str, Any]:
        """The cost of the backbone, measured on weights of its own that are thrown away; once per run."""
        if self.folder.cost.exists():
            return json.loads(self.folder.cost.read_text(encoding="utf-8"))
        cost = profile_backbone(
            self.setup.construct_backbone,
            self.setup.runtime,
            Workload(
                self.setup.latent_shape, self.setup.dataset.num_classes, joint_images=self.settings.train.joint_images
            ),
            objective=self.settings.diffusion.objective,
            batch_size=self.settings.train.batch_size,
            compile_mode=self.settings.compile,
        )
        return asdict(cost)

    def initial_state(self) -> TrainingState:
        """The newest checkpoint, or the weights that training starts from."""
        config = self.settings.train
        if self.folder.attention.exists():
            rows = json.loads(self.folder.attention.read_text(encoding="utf-8"))
            self.setup.runtime.attention_choices.recall(AttentionChoice(**row) for row in rows)
        backbone = self.setup.build_backbone()
        if config.init:
            console().print(f"starting from {initialise_from(backbone, config.init)}")
        state = new_state(backbone, config)
        checkpoints = list_checkpoints(self.job.checkpoints)
        if checkpoints:
            load_checkpoint(state, checkpoints[-1], self.job.config_hash)
            console().print(f"resuming from {checkpoints[-1].name}")
        compile_in_place(state.backbone, self.settings.compile)
        compile_in_place(state.ema.module, self.settings.compile)
        return state

    def train(self, state: TrainingState) -> None:
        """Train to the last step, evaluating on the way."""
        config = self.settings.train
        self._evaluate_on_the_way(state)  # the untrained network, or a point that a killed run still owes
        batches = training_batches(
            self.setup.dataset,
            config.batch_size,
            self.settings.seed,
            first_step=state.step,
            num_steps=config.steps - state.step,
            num_workers=config.num_workers,
        )
        with progress_bar("training", config.steps, done=state.step) as advance:

            def after_step(state: TrainingState, loss: float) -> None:
                advance(1, note=f"loss {loss:.4f}")
                self._evaluate_on_the_way(state)
                self._keep_attention_choices()

            train(state, self.job, batches, after_step)

    def evaluate(self, state: TrainingState) -> Evaluation:
        """The final evaluation, on the averaged weights."""
        return self.evaluator.evaluate(state.ema.module, "final", "sampling, final")

    def write_result(self, evaluation: Evaluation) -> None:
        """Keep the clips and features, then the record, last and whole."""
        names = self.setup.dataset.class_names
        files = {
            "samples": self.folder.save_clips("samples.npz", evaluation.samples, names),
            "real": self.folder.save_clips("real.npz", self.evaluator.real_examples(), names),
            "features": "features.npz",
            "loss_curve": self.job.loss_curve.name,
        }
        np.savez_compressed(
            self.folder.path / files["features"], real=evaluation.real_features, fake=evaluation.fake_features
        )
        cheaper = self.curve_evaluator.setup.protocol.as_dict()
        quality = {**evaluation.quality, "curve": self._curve(), "curve_protocol": cheaper}
        self._write("finished", None, quality, files)

    def write_failure(self, status: str, reason: str) -> None:
        """Record a run that did not come to its end, with what it has."""
        self._write(status, reason, {}, {"loss_curve": self.job.loss_curve.name})

    def _write(self, status: str, reason: str | None, quality: dict[str, Any], files: dict[str, str]) -> None:
        cost = json.loads(self.folder.cost.read_text(encoding="utf-8")) if self.folder.cost.exists() else {}
        self.folder.path.mkdir(parents=True, exist_ok=True)
        record = Record(
            run_id=self.folder.path.name,
            status=status,
            reason=reason,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            config=self.setup.config.to_dict(),
            config_hash=self.setup.config.config_hash,
            machine=machine_fingerprint(),
            software=software_versions(),
            training=training_section(self.job.loss_curve, self.settings.train.batch_size, self.setup.runtime),
            quality=quality,
            files=files,
            **{name: cost.get(name, {}) for name in ("counts", "timing", "memory")},
        )
        write_record(record, self.folder.path)

    def _evaluate_on_the_way(self, state: TrainingState) -> None:
        """Add a point to the curve when it is due. A point that a resumed run meets again is not computed twice."""
        every = self.settings.eval.every
        curve = self._curve()
        if not every or state.step % every or any(point["step"] == state.step for point in curve):
            return
        quality = self.curve_evaluator.evaluate(state.ema.module, "curve", f"sampling, step {state.step}").quality
        if quality["fvd"] is not None:
            point = {name: quality[name] for name in ("fvd", "n_fake", "protocol_hash")}
            write_json(self.folder.curve, [*curve, {"step": state.step, **point}])

    def _keep_attention_choices(self) -> None:
        choices = self.setup.runtime.attention_choices.rows()
        if len(choices) != self._kept_choices:
            write_json(self.folder.attention, [asdict(choice) for choice in choices])
            self._kept_choices = len(choices)

    def _curve(self) -> list[dict[str, Any]]:
        return json.loads(self.folder.curve.read_text()) if self.folder.curve.exists() else []


def training_section(loss_curve: Path, batch_size: int, runtime: Runtime) -> dict[str, Any]:
    """The record's training section, from the loss curve.

    `loss_final` is the mean over the last tenth of the steps: single steps are drawn at random timesteps. `wall_s` is
    the time of the steps alone, without evaluations and checkpoints.
    """
    lines = list(_read_curve(loss_curve))
    seconds = sum(float(line["seconds"]) for line in lines)
    last = [float(line["loss"]) for line in lines[-max(1, len(lines) // 10) :]]
    return {
        "steps": len(lines),
        "loss_curve": loss_curve.name,
        "loss_final": sum(last) / len(last) if last else None,
        "wall_s": round(seconds, 3),
        "clips_per_s": round(len(lines) * batch_size / seconds, 3) if seconds else None,
        "precision": runtime.precision,
        "attention": runtime.attention,
        "attention_choices": [asdict(choice) for choice in runtime.attention_choices.rows()],
        "device": str(runtime.device),
        "freed_memory": runtime.freed_memory,
    }


def _read_curve(loss_curve: Path) -> Iterator[dict[str, str]]:
    if loss_curve.exists():
        with loss_curve.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def _is_finished(folder: RunFolder, resume: bool) -> bool:
    """Whether there is nothing left to do; refuses to touch an earlier run unless asked to resume it."""
    if not folder.path.exists():
        return False
    if not resume:
        state = "finished" if folder.record.exists() else "begun"
        raise StbenchError(f"{folder.path} was {state} before: --resume goes on with it, another --out starts anew")
    if folder.record.exists() and read_record(folder.path).finished:
        console().print(f"{folder.path} is finished: nothing to do")
        return True
    return False
