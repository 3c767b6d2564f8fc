"""A trained run, or published weights, used again: from Python, and as `stbench sample` and `stbench evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from stbench.diffusion.samplers import check_length
from stbench.errors import StbenchError
from stbench.paths import DEFAULT_RUNS
from stbench.progress import console, progress_bar
from stbench.records.schema import Record
from stbench.records.sections import Quality, Validation
from stbench.records.store import read_record
from stbench.reports.media import make_sheet
from stbench.run.embeddings import NO_CLIPS, evaluator_of
from stbench.run.evaluation import Evaluation
from stbench.run.folder import RunFolder
from stbench.run.given import given_clips, sample_clips
from stbench.run.setup import Setup, prepare
from stbench.run.stages import run as run_stages
from stbench.run.validation import Validator
from stbench.runtime.machine import describe_machine, software_versions
from stbench.settings.resolve import Words, override, parse_overrides, resolve
from stbench.settings.schema import RunConfig
from stbench.storage.clips import Clips
from stbench.storage.files import check_folder, making, write_bytes
from stbench.storage.lock import locked
from stbench.training.checkpoint import list_checkpoints
from stbench.training.start import initialise_from

REUSABLE = (
    "eval.",
    "protocol",
    "precision",
    "attention",
    "device",
    "dataset.root",
    "autoencoder.weights",
    "context.weights",
)


class Figures(NamedTuple):
    """How good a trained run is: both sections of the record, or why there is no validation loss."""

    quality: Quality
    validation: Validation | None
    no_validation: str | None


@dataclass(frozen=True)
class TrainedRun:
    """A trained backbone, and what it was trained under.

    Attributes:
        path: the run's folder, or a weights file.
        setup: what a run works with, such as its dataset, its autoencoder and its detector.
        backbone: in evaluation mode, on the run's device, with the averaged weights.
    """

    path: Path
    setup: Setup
    backbone: nn.Module

    @property
    def config(self) -> RunConfig:
        """What it was trained under; `config.settings.train.lr`, `config.variant.arguments`."""
        return self.setup.config

    @property
    def steps(self) -> int:
        """How many steps of training the weights are of; 0 for a weights file."""
        checkpoints = list_checkpoints(self.path / "checkpoints")
        return int(checkpoints[-1].stem.removeprefix("step-")) if checkpoints else 0

    @property
    def record(self) -> Record | None:
        """What came of the run; None before its end, and for a weights file."""
        return read_record(self.path) if RunFolder(self.path).has_record else None

    def under(self, settings: Words) -> TrainedRun:
        """The same weights under other settings, of which those that made the weights cannot be changed.

        Raises:
            StbenchError: for such a setting, and for whatever is missing or does not fit together.
        """
        setup = prepare(override(self.config, settings, REUSABLE))
        backbone = setup.build_backbone().eval()
        backbone.load_state_dict(self.backbone.state_dict())
        return replace(self, setup=setup, backbone=backbone)


def load_run(path: Path | str, settings: Words = (), trust_code: bool = False) -> TrainedRun:
    """Load a trained run, with what it was trained on: its dataset must be there.

    Args:
        path: a run's folder, of which the newest checkpoint is taken; or a weights file.
        settings: that differ from the run's, such as `{"device": "cpu", "dataset.root": "..."}`; for a file all
            settings, as of a run.
        trust_code: whether code that a run's folder names, and that is not stbench's, may be imported.

    Raises:
        StbenchError: when there is nothing to load, it does not fit, or it would run code that is not trusted.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise StbenchError(f"{path} does not exist: expected a run's folder or a weights file")
    is_run = path.is_dir()
    setup = prepare(
        override(RunFolder(path).read_config(trust_code), settings, REUSABLE) if is_run else resolve(settings)
    )
    backbone = setup.build_backbone().eval()
    initialise_from(backbone, str(path), setup.architecture)
    return TrainedRun(path, setup, backbone)


def sample(
    run: TrainedRun | Path | str,
    num: int = 16,
    settings: Words = (),
    trust_code: bool = False,
    num_frames: int | None = None,
) -> Clips:
    """Draw samples. Sample i is a function of weights, settings, `eval.seed` and i: 16 are the first of any 32.

    Args:
        run: a trained run; or what `load_run` takes, with `settings` and `trust_code`.
        num: how many.
        settings: that differ from the run's, such as `{"eval.cfg_scale": 2}`.
        trust_code: as of `load_run`.
        num_frames: F of the samples; other than the run's it takes `eval.sampler=fifo-...`.

    Returns:
        Clips: `clips` (num, F, H, W, 3), uint8, and their `labels` (num,), the classes in turn.
    """
    if num < 1:
        raise StbenchError(f"num={num}: expected at least 1")
    trained = _opened(run, settings, trust_code)
    setup, batches = trained.setup, []
    if not setup.autoencoder.makes_clips:
        raise StbenchError(f"{trained.path}: {NO_CLIPS}: there is nothing to look at")
    channels, own_frames, height, width = setup.latent_shape
    spec = replace(setup.sampling, latent_shape=(channels, num_frames or own_frames, height, width))
    check_length(trained.backbone, spec, spec.latent_shape[1])
    with progress_bar("sampling", num) as advance:
        for batch in sample_clips(trained.backbone, setup, spec, num, given_clips(setup, num)):
            batches.append(batch)
            advance(len(batch.clips))
    clips, labels = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("clips", "labels"))
    return Clips(clips, labels, setup.dataset.class_names)


def evaluate(
    run: TrainedRun | Path | str, settings: Words = (), out: Path | str | None = None, trust_code: bool = False
) -> Quality:
    """Measure quality again, under the run's settings or others.

    Args:
        run: a trained run; or what `load_run` takes, with `settings` and `trust_code`.
        settings: that differ from the run's, such as `{"eval.num_sampling_steps": 100}`.
        out: folder of runs, in which the evaluation gets a folder and a record of its own: the run's costs and
            training with this quality. None keeps nothing.
        trust_code: as of `load_run`.

    Returns:
        The record's section on quality. `validate` gives the validation loss, which a record that is kept has too.

    Raises:
        StbenchError: wrong settings, or an evaluation to keep of something that is no finished run.
    """
    return _evaluated(_opened(run, settings, trust_code), out).quality


def validate(run: TrainedRun | Path | str, settings: Words = (), trust_code: bool = False) -> Validation:
    """Measure the validation loss again, under the run's settings or others.

    Args:
        run: a trained run; or what `load_run` takes, with `settings` and `trust_code`.
        settings: that differ from the run's, such as `{"eval.validation_clips": 1024}`.
        trust_code: as of `load_run`.

    Returns:
        The record's section on the validation loss.

    Raises:
        StbenchError: wrong settings, or there are no held-out clips, and why.
    """
    trained = _opened(run, settings, trust_code)
    if (found := _validation(trained)) is None:
        raise StbenchError(f"no validation loss: {trained.setup.no_validation}")
    return found


def _evaluated(trained: TrainedRun, out: Path | str | None) -> Figures:
    """The figures of a trained run, which `out` keeps where it is given."""
    no_validation = trained.setup.no_validation
    if out is None:
        quality = evaluator_of(trained.setup).evaluate(trained.backbone, "sampling").quality
        return Figures(quality, _validation(trained), no_validation)
    before = trained.record
    if before is None or not before.finished:
        raise StbenchError(f"{trained.path} is no finished run: its evaluation cannot be kept beside those of others")
    config = replace(trained.config, trained_as=before.group_hash[:12])
    folder = RunFolder(Path(out) / config.run_id)
    with locked(folder.path):
        evaluator, validation = evaluator_of(trained.setup), _validation(trained)
        evaluation = evaluator.evaluate(trained.backbone, "sampling")
        alike = validation and before.validation and validation.protocol_hash == before.validation.protocol_hash
        diagnostics = before.diagnostics if alike else None
        judged = replace(before, validation=validation, diagnostics=diagnostics, no_validation=no_validation)
        _keep(folder, config, judged, evaluation, evaluator.real_examples())
    console().print(f"record: {folder.path}", soft_wrap=True)
    return Figures(evaluation.quality, validation, no_validation)


def _validation(trained: TrainedRun) -> Validation | None:
    """The validation loss of a run, with the curve that led to it where that was measured likewise."""
    if trained.setup.validation_set is None:
        return None
    validator = Validator(trained.setup, trained.setup.validation_set)
    point, before = validator.validate(trained.backbone, trained.steps), trained.record
    earlier = before.validation if before else None
    alike = earlier is not None and earlier.protocol_hash == validator.protocol_hash
    return validator.section((*(earlier.curve[:-1] if earlier and alike else ()), point))


def _opened(run: TrainedRun | Path | str, settings: Words, trust_code: bool) -> TrainedRun:
    """A run under some settings, its backbone in evaluation mode."""
    if not isinstance(run, TrainedRun):
        return load_run(run, settings, trust_code)
    trained = run.under(settings) if settings else run
    trained.backbone.eval()
    return trained


def _keep(folder: RunFolder, config: RunConfig, before: Record, evaluation: Evaluation, real: Clips) -> None:
    """Write a record that differs from the run's in how its weights were judged, with the clips and the features."""
    quality = evaluation.quality
    if before.quality and before.quality.protocol_hash == quality.protocol_hash:
        quality = replace(quality, fvd_untrained=before.quality.fvd_untrained)
    files = {
        **folder.write_clips(evaluation.samples, real),
        **folder.write_features(evaluation.real_features, evaluation.fake_features),
    }
    record = replace(
        before,
        run_id=config.run_id,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        config=config.to_dict(),
        config_hash=config.config_hash,
        group_hash=config.group_hash,
        machine=describe_machine(),
        software=software_versions(),
        quality=quality,
        files=files,
    )
    folder.write_record(record)


def sample_from(
    source: str,
    words: Words,
    num: int,
    out: Path | None,
    trust_code: bool = False,
    num_frames: int | None = None,
) -> Path:
    """Draw clips and write `samples.npz` and `samples.webp`.

    Args:
        source: a run's folder, or a weights file.
        words: settings that differ from the run's; for a file all settings, as of a run.
        num: how many clips.
        out: folder to write to; by default `sampled` in the run's folder, or beside the file.
        trust_code: whether code that a run's folder names, and that is not stbench's, may be imported.
        num_frames: as of `sample`.

    Returns:
        The moving picture's path.
    """
    folder = out or (Path(source) if Path(source).is_dir() else Path(source).parent) / "sampled"
    check_folder(folder)
    clips = sample(source, num, words, trust_code, num_frames)
    with making(folder):
        clips.save(folder / "samples.npz")
        write_bytes(folder / "samples.webp", make_sheet(clips).webp)
    return folder / "samples.webp"


def evaluate_again(source: str, words: Words, out: Path | None, trust_code: bool = False) -> Figures:
    """Measure quality and validation loss again, or for the first time, and keep it as a record in a folder of its own.

    Args:
        source: a run's folder: its averaged weights are measured; of a run that is not finished nothing is kept.
            A weights file: a run without training steps is made of it.
        words: settings that differ from the run's; for a file all settings, as of a run.
        out: folder of runs for the record; by default that of the run, and "runs" for a file.
        trust_code: as of `sample_from`.

    Returns:
        The figures.
    """
    path = Path(source)
    if not path.is_file():
        by_default = path.resolve().parent if RunFolder(path).is_finished() else None
        return _evaluated(load_run(path, words, trust_code), out or by_default)
    given, fixed = parse_overrides(words), {"train.init": source, "train.steps": 0}
    if taken := fixed.keys() & given.keys():
        raise StbenchError(f"{min(taken)} follows from the weights file: it is evaluated as it is, without training")
    config = resolve({**given, **fixed})
    record = read_record(run_stages(config, out or DEFAULT_RUNS, resume=True))
    assert record.quality is not None  # of a finished run
    return Figures(record.quality, record.validation, record.no_validation)
