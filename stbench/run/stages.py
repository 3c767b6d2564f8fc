"""One run, stage after stage: prepare, profile, train, evaluate, record. `folder` says what each leaves on disk."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from stbench.backbones.contract import refuse_broken
from stbench.data.loading import training_batches
from stbench.errors import FinishedInPart, StbenchError, error_with_place, first_line, is_of_own_code
from stbench.profiling.profile import measure_costs
from stbench.progress import progress_bar, say
from stbench.records.schema import SCORES, Record
from stbench.records.sections import Cost, CurvePoint, Training
from stbench.run.embeddings import evaluator_of
from stbench.run.evaluation import Evaluation, Evaluator
from stbench.run.folder import RunFolder
from stbench.run.setup import Setup, prepare
from stbench.run.tracking import Log, tracked
from stbench.run.validation import Validator
from stbench.runtime.compilation import compile_in_place, forget_compiled_code
from stbench.runtime.failure import value_of
from stbench.runtime.machine import describe_machine, is_out_of_memory, software_versions
from stbench.settings.schema import RunConfig
from stbench.signals import Interrupted
from stbench.storage.files import check_folder
from stbench.storage.lock import is_held, locked
from stbench.training.checkpoint import TrainingState, list_checkpoints, load_checkpoint
from stbench.training.divergence import TrainingDiverged
from stbench.training.loop import TrainingJob, new_state, train
from stbench.training.loss_curve import StepLog, summarise_loss_curve
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
    check_folder(out)
    setup = prepare(config)
    folder = RunFolder(out / setup.config.run_id)
    with locked(folder.path):
        if folder.begun and not resume:
            so_far = "finished" if folder.has_record else "begun"
            raise StbenchError(
                f"{folder.path} was {so_far} before: --resume goes on with it, another --out starts anew"
            )
        if resume and not folder.begun:
            say(f"{folder.path} is new: there is nothing to go on with")
        if folder.is_finished(setup.config.config_hash):
            say(f"{folder.path} is finished: nothing to do")
        else:
            _run_stages(RunStages(setup, folder))
    return folder.path


def _run_stages(stages: RunStages) -> None:
    stages.folder.remove_leftovers()
    if stages.settings.compile != "off":
        forget_compiled_code()
    with stages.saying_how_to_go_on(), stages.recording_failures(), _telling_of_own_code():
        stages.check_backbone()
        cost = stages.profile()
        if stages.settings.eval.validation_clips and not stages.validator:
            say(f"no validation loss: {stages.setup.no_validation}")
        state = stages.initial_state()
        stages.folder.begin(stages.setup.config, cost)
        with tracked(stages.setup.config, stages.folder.path) as stages.track:
            stages.train(state)
            stages.evaluate(state, cost)


@contextlib.contextmanager
def _telling_of_own_code() -> Iterator[None]:
    """Tell in one line what a backbone, dataset or detector of the user's raises, or that it ends the process.

    Raises:
        StbenchError: with the file and line of theirs.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        told = isinstance(error, StbenchError) or is_out_of_memory(error)
        if told or not (is_of_own_code(error) or isinstance(error, SystemExit)):
            raise
        raise StbenchError(error_with_place(error)) from error


class RunStages:
    """The stages of one run. What one returns goes on to the next; a resumed run finds the rest in its folder."""

    def __init__(self, setup: Setup, folder: RunFolder) -> None:
        self.setup, self.folder = setup, folder
        self.settings = setup.config.settings
        self.evaluator = self.curve_evaluator = evaluator_of(setup)
        if setup.during_training.protocol != setup.protocol:
            self.curve_evaluator = evaluator_of(setup.during_training)
        self.validator = Validator(setup, setup.validation_set) if setup.validation_set else None
        self.cost = folder.read_cost()
        self.state: TrainingState | None = None  # once there is one
        self.track: Log = lambda figures, step: None
        self._latest: tuple[Evaluator, int, Evaluation] | None = None
        self.lost = setup.dataset.lost
        self.lost |= folder.read_lost()
        self._kept_choices, self._kept_lost = 0, len(self.lost)
        self.job = TrainingJob(
            config=self.settings.train,
            diffusion=self.settings.diffusion,
            seed=self.settings.seed,
            num_classes=setup.num_classes,
            runtime=setup.runtime,
            autoencoder=setup.autoencoder,
            folder=folder.path,
            config_hash=setup.config.config_hash,
            architecture=setup.architecture,
            restoration=setup.restoration,
            frame_context=setup.frame_context,
        )

    @contextlib.contextmanager
    def recording_failures(self) -> Iterator[None]:
        """Leave a record of a run that was begun and did not come to its end.

        Running out of memory is a result even before the run is begun; anything else that goes wrong so early is a
        mistake in what was asked for, and leaves nothing behind.
        """
        status: Literal["failed", "oom", "nan"]
        try:
            yield
        except Exception as error:
            if isinstance(error, TrainingDiverged):
                status, reason = "nan", str(error)
            elif is_out_of_memory(error):
                status, reason = "oom", f"out of memory: {first_line(error)}"
            elif self.folder.begun and is_held(self.folder.path):
                status, reason = "failed", first_line(error)
            else:
                raise
            try:
                self._write(status, self.cost, reason=reason, files={})
            except StbenchError as unwritten:
                raise StbenchError(f"{reason}; and no record of it: {unwritten}") from error
            if status == "failed":
                raise
            raise FinishedInPart(f"{self.folder.path}: {reason}") from error

    @contextlib.contextmanager
    def saying_how_to_go_on(self) -> Iterator[None]:
        """Tell who interrupts the run what is kept of it."""
        try:
            yield
        except Interrupted as error:
            kept = list_checkpoints(self.job.checkpoints)
            advice = f"--resume goes on from {kept[-1]}" if kept else "before the first step: nothing is kept"
            raise Interrupted(error.signum, advice) from None

    def check_backbone(self) -> None:
        """Refuse a backbone that breaks the contract, and tell what else is odd about it; once per run.

        Raises:
            StbenchError: naming the variant and the rule.
        """
        if self.cost:
            return
        name = f"variant {self.setup.config.variant.name!r}"
        for verdict in refuse_broken(self.setup.construct_unfrozen, self.setup.task, name):
            say(f"warning: {name}: {verdict.name}: {verdict.reason}")

    def profile(self) -> Cost:
        """The cost of the backbone, measured on weights of its own that are thrown away; once per run."""
        if self.cost:
            return self.cost
        [cost] = measure_costs([self.setup.subject], self.setup.conditions)
        self.cost = value_of(cost)
        return self.cost

    def initial_state(self) -> TrainingState:
        """The newest checkpoint, or the weights that training starts from."""
        config = self.settings.train
        self.setup.runtime.attention_choices.recall(self.folder.read_attention_choices())
        backbone = self.setup.build_backbone()
        if config.init:
            say(f"starting from {initialise_from(backbone, config.init, self.setup.architecture)}")
        state = new_state(backbone, config)
        checkpoints = list_checkpoints(self.job.checkpoints)
        if checkpoints:
            load_checkpoint(state, checkpoints[-1], self.job.config_hash)
            say(f"resuming from {checkpoints[-1].name}")
        self.state = state
        for name, owed in (("curve", self._owed), ("validation", self._owes_validation)):
            if lost := ", ".join(str(step) for step in range(state.step) if owed(step)):
                where = f"{self.folder.path}/{name}.json"
                say(f"{where} lacks the points of the steps {lost}, which cannot be measured again")
        compile_in_place(state.backbone, self.settings.compile)
        compile_in_place(state.ema.module, self.settings.compile)
        return state

    def train(self, state: TrainingState) -> None:
        """Train to the last step, evaluating on the way."""
        config = self.settings.train
        self._evaluate_on_the_way(state)  # the untrained network, or a point that a killed run still owes
        batches = training_batches(
            self.setup.training_set,
            config.batch_size,
            self.settings.seed,
            first_step=state.step,
            num_steps=config.steps - state.step,
            num_workers=config.num_workers,
        )
        with progress_bar("training", config.steps, done=state.step) as advance:

            def after_step(state: TrainingState, log: StepLog) -> None:
                advance(1, note=f"loss {log.loss:.4f}")
                self.track({f"train/{name}": getattr(log, name) for name in ("loss", "grad_norm", "lr")}, log.step)
                self._check_held(state)
                self._evaluate_on_the_way(state)
                choices = self.setup.runtime.attention_choices.rows()
                if len(choices) != self._kept_choices:
                    self.folder.write_attention_choices(choices)
                    self._kept_choices = len(choices)
                if len(self.lost) != self._kept_lost:
                    self.folder.write_lost(self.lost)
                    self._kept_lost = len(self.lost)

            train(state, self.job, batches, after_step, self._check_held)

    def evaluate(self, state: TrainingState, cost: Cost) -> None:
        """Evaluate the averaged weights, and keep the clips and features, then the record, last and whole."""
        self._check_held(state)
        evaluation = self._judge(state, self.evaluator)
        files = {
            **self.folder.write_clips(evaluation.samples, self.evaluator.real_examples()),
            **self.folder.step_samples(),
            **self.folder.write_features(evaluation.real_features, evaluation.fake_features),
        }
        points, curve_hash = self.folder.read_curve(), self.curve_evaluator.protocol_hash
        quality = dataclasses.replace(
            evaluation.quality,
            fvd_untrained=self._fvd_untrained(points),
            curve=tuple(point for point in points if self.settings.eval.every and point.protocol_hash == curve_hash),
            curve_protocol=self.curve_evaluator.setup.protocol,
        )
        self.track({f"quality/{name}": getattr(quality, name) for name in SCORES}, state.step)
        validator = self.validator
        validation = validator and validator.section(self.folder.read_validation(validator.protocol_hash))
        diagnostics = validator and validator.diagnose(state.ema.module)
        self._write("finished", cost, validation=validation, diagnostics=diagnostics, quality=quality, files=files)

    def _write(
        self, status: Literal["finished", "failed", "oom", "nan"], cost: Cost | None, files: dict[str, str], **rest: Any
    ) -> None:
        config, runtime = self.setup.config, self.setup.runtime
        held_out = self.setup.validation_set.lost if self.setup.validation_set else {}
        steps = self.state.step if self.state else 0
        record = Record(
            run_id=self.folder.path.name,
            status=status,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            config=config.to_dict(),
            config_hash=config.config_hash,
            group_hash=config.group_hash,
            machine=describe_machine(),
            software=software_versions(),
            counts=cost.counts if cost else None,
            conditions=cost.conditions if cost else None,
            timing=cost.timing if cost else {},
            memory=cost.memory if cost else None,
            training=Training(
                **summarise_loss_curve(self.job.loss_curve, steps, self.settings.train.batch_size),
                precision=runtime.precision,
                attention=None if cost and cost.counts.attention_modules == 0 else runtime.attention,
                attention_choices=runtime.attention_choices.rows(),
                device=str(runtime.device),
                freed_memory=runtime.freed_memory,
                dropped_videos=self.setup.training_set.describe().dropped_by_reason,
                lost_videos={**self.lost, **self.setup.reference.lost, **held_out},
            ),
            no_validation=self.setup.no_validation,
            files={**files, "loss_curve": self.job.loss_curve.name},
            **rest,
        )
        self.folder.write_record(record)

    def _check_held(self, state: TrainingState) -> None:
        if not is_held(self.folder.path):
            raise StbenchError(f"{self.folder.path} was deleted under its run, at step {state.step}: nothing is kept")

    def _evaluate_on_the_way(self, state: TrainingState) -> None:
        """Keep the points that are due. A point that a resumed run meets again is not computed twice."""
        self._validate_on_the_way(state)
        for evaluator in self._owed(state.step):
            points, evaluation = self.folder.read_curve(), self._judge(state, evaluator)
            quality = evaluation.quality
            if evaluation.samples and evaluator is self.curve_evaluator and state.step < self.settings.train.steps:
                self.folder.write_step_samples(state.step, evaluation.samples)
            if quality.fvd is not None:
                point = CurvePoint(
                    step=state.step, fvd=quality.fvd, n_fake=quality.n_fake, protocol_hash=quality.protocol_hash
                )
                self.folder.write_curve([*points, point])
                self.track({"curve/fvd": point.fvd}, point.step)

    def _validate_on_the_way(self, state: TrainingState) -> None:
        if self.validator and self._owes_validation(state.step):
            points = self.folder.read_validation(self.validator.protocol_hash)
            point = self.validator.validate(state.ema.module, state.step)
            self.folder.write_validation(self.validator.protocol_hash, [*points, point])
            self.track({"curve/validation_loss": point.loss}, point.step)

    def _owes_validation(self, step: int) -> bool:
        """Whether the validation loss is to be measured after this many steps, and was not yet."""
        if self.validator is None or step not in self.validator.steps:
            return False
        return all(point.step != step for point in self.folder.read_validation(self.validator.protocol_hash))

    def _owed(self, step: int) -> list[Evaluator]:
        """Who is to judge after this many steps, and did not yet."""
        due = self._due(step)
        kept = {(point.step, point.protocol_hash) for point in self.folder.read_curve()} if due else set()
        return [each for each in due if (step, each.protocol_hash) not in kept]

    def _due(self, step: int) -> list[Evaluator]:
        """Who judges after this many steps: nearly always nobody; before the first also the final figure's protocol."""
        settings = self.settings.eval
        on_the_curve = settings.every > 0 and step % settings.every == 0
        untrained = step == 0 and settings.untrained and self.settings.train.steps > 0
        due = [self.curve_evaluator] * on_the_curve + [self.evaluator] * untrained
        return [each for each in dict.fromkeys(due) if each.refusal is None]

    def _fvd_untrained(self, points: Sequence[CurvePoint]) -> float | None:
        """The FVD that training began with, under the protocol of the final figure; None without training."""
        first = (0, self.evaluator.protocol_hash)
        found = (point.fvd for point in points if (point.step, point.protocol_hash) == first)
        return next(found, None) if self.settings.train.steps else None

    def _judge(self, state: TrainingState, evaluator: Evaluator) -> Evaluation:
        """Evaluate the averaged weights, once for the last point of the curve and the record where they agree."""
        if self._latest is None or self._latest[:2] != (evaluator, state.step):
            evaluation = evaluator.evaluate(state.ema.module, f"sampling, step {state.step}")
            self._latest = (evaluator, state.step, evaluation)
        return self._latest[2]
