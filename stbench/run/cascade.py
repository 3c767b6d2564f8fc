"""A cascade as Make-A-Video's (arXiv 2209.14792, section 3): clips of one run, finished by others.

A run of task=generate makes clips from nothing, or of the embeddings that a prior before it makes of texts. Each of the
others makes of them what its task makes of a real clip: the frames between, or the pixels. A stage whose clips are
shorter than what it is given goes over that in windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.data.loading import clips_to_tensor
from stbench.diffusion.samplers import calls_per_clip
from stbench.errors import StbenchError
from stbench.metrics.detectors.base import full_precision
from stbench.profiling.counts import count
from stbench.progress import progress_bar
from stbench.records.sections import StageCost
from stbench.reports.media import make_sheet
from stbench.run.embeddings import sample_embeddings
from stbench.run.generation import generate, labels_of_samples
from stbench.run.reuse import TrainedRun, load_run, sample
from stbench.runtime.timing import Stopwatch
from stbench.storage.clips import Clips
from stbench.storage.files import check_folder, making, write_bytes, write_json
from stbench.tasks.restorations import Stage

Frames = NDArray[np.uint8]
"""Clips (N, F, H, W, 3)."""


@dataclass(frozen=True)
class Cascaded:
    """Clips, and the cost of each stage."""

    clips: Clips
    stages: tuple[StageCost, ...]


def cascade(runs: Sequence[TrainedRun | Path | str], num: int = 4, trust_code: bool = False) -> Cascaded:
    """Make clips by a run of `task=generate`, behind a prior or not, and finish them by runs of other tasks.

    Clip i is a function of the weights, their `eval.seed` and i, whatever `num` is.

    Args:
        runs: trained runs, or what `load_run` takes, in their order.
        num: how many clips.
        trust_code: as of `load_run`.

    Raises:
        StbenchError: naming the run that does not fit the one before it, before anything is made.
    """
    trained = [run if isinstance(run, TrainedRun) else load_run(run, trust_code=trust_code) for run in runs]
    _check(trained)
    embeddings, stages = None, []
    if _is_prior(trained[0]):
        prior, *trained = trained
        with Stopwatch(prior.setup.runtime.device) as watch:
            embeddings = sample_embeddings(prior.backbone, prior.setup, num)
        stages.append(_cost(prior, (num, 1, 1, 1), 1, watch.seconds))
    decoder, *others = trained
    with Stopwatch(decoder.setup.runtime.device) as watch:
        clips = sample(decoder, num) if embeddings is None else _decoded(decoder, embeddings)
    stages.append(_cost(decoder, clips.clips.shape[:4], 1, watch.seconds))
    for run in others:
        stage = _stage(run)
        windows = stage.windows(clips.clips.shape[1], run.setup.dataset.num_frames)
        with Stopwatch(run.setup.runtime.device) as watch:
            made = _made_of(run, clips, windows)
        clips = replace(clips, clips=stage.join(clips.clips, made, windows))
        stages.append(_cost(run, clips.clips.shape[:4], len(windows), watch.seconds))
    return Cascaded(clips, tuple(stages))


def cascade_to(runs: Sequence[str], num: int, out: Path, trust_code: bool = False) -> tuple[Path, Cascaded]:
    """Make clips by a cascade and write `samples.npz`, `samples.webp` and `cascade.json`, the cost of each stage.

    Returns:
        The moving picture's path, and what was made.
    """
    check_folder(out)
    made = cascade(runs, num, trust_code)
    with making(out):
        made.clips.save(out / "samples.npz")
        write_bytes(out / "samples.webp", make_sheet(made.clips).webp)
        write_json(out / "cascade.json", {"stages": [asdict(stage) for stage in made.stages]})
    return out / "samples.webp", made


def _check(runs: Sequence[TrainedRun]) -> None:
    """Refuse runs that are no cascade, or of which one cannot take what the one before it makes."""
    if len(runs) < 2:
        raise StbenchError("a cascade takes a run of task=generate, and behind it those of other tasks")
    if _is_prior(runs[0]):
        prior, *runs = runs
        _check_reads(runs[0], prior)
    first, *others = runs
    if first.setup.restoration is not None:
        task = first.config.settings.task
        raise StbenchError(f"{first.path} is of task={task}: expected a run of task=generate at the beginning")
    classes, (num_frames, size) = first.setup.dataset.class_names, _frames_and_size(first)
    for run in others:
        own_frames, own_size = _frames_and_size(run)
        if run.setup.restoration is None:
            raise StbenchError(f"{run.path} is of task={_task(run)}: expected it at the beginning alone")
        if not isinstance(run.setup.restoration, Stage):
            raise StbenchError(f"{run.path} is of task={run.config.settings.task}, which is no stage of a cascade")
        if run.setup.frame_context:
            raise StbenchError(f"{run.path} reads a frame of the finished clip, which is not there yet")
        if run.setup.dataset.num_classes and run.setup.dataset.class_names != classes:
            raise StbenchError(f"{run.path} knows other classes than {first.path}")
        if (given := run.setup.restoration.given_size(own_size)) != size:
            raise StbenchError(
                f"{run.path} is given frames of {given}x{given} pixels: those before it are {size}x{size}"
            )
        try:
            run.setup.restoration.windows(num_frames, own_frames)
        except StbenchError as error:
            raise StbenchError(f"{run.path} {error}") from error
        num_frames, size = run.setup.restoration.num_joined(num_frames), own_size


def _is_prior(run: TrainedRun) -> bool:
    return not run.setup.autoencoder.makes_clips


def _task(run: TrainedRun) -> str:
    return "prior" if _is_prior(run) else run.config.settings.task


def _check_reads(decoder: TrainedRun, prior: TrainedRun) -> None:
    """Refuse a decoder that does not read what a prior makes: embeddings of the encoder that the prior learned."""
    if decoder.config.settings.context.name != "toy-image":
        raise StbenchError(
            f"{decoder.path} does not read the embeddings that {prior.path} makes: expected a run of "
            f"context.name=toy-image, got {decoder.config.settings.context.name}"
        )
    if decoder.setup.dataset.class_names != prior.setup.dataset.class_names:
        raise StbenchError(f"{decoder.path} knows other classes than {prior.path}")


def _decoded(decoder: TrainedRun, embeddings: Tensor) -> Clips:
    """The clips of embeddings (N, D), their classes in turn."""
    setup, spec, number = decoder.setup, decoder.setup.sampling, len(embeddings)
    given = (Conditioning(context=part[:, None]) for part in embeddings.split(spec.batch_size))
    seed = setup.config.settings.eval.seed
    made = generate(decoder.backbone, setup.autoencoder, setup.runtime, spec, number, seed, given)
    labels = labels_of_samples(range(number), setup.dataset.num_classes)
    return Clips(np.concatenate(list(made)), labels, setup.dataset.class_names)


def _frames_and_size(run: TrainedRun) -> tuple[int, int]:
    return run.setup.dataset.num_frames, run.setup.dataset.image_size


def _stage(run: TrainedRun) -> Stage:
    assert isinstance(run.setup.restoration, Stage)  # or else refused by `_check`
    return run.setup.restoration


def _made_of(run: TrainedRun, clips: Clips, windows: Sequence[range]) -> Frames:
    """What a run makes of every window of every clip: (N, windows, F, H, W, 3)."""
    setup, spec = run.setup, run.setup.sampling
    # Those of one clip follow each other, so that how many clips there are changes none of them.
    parts = np.concatenate([[clip[window.start : window.stop] for window in windows] for clip in clips.clips])
    labels = np.repeat(clips.labels, len(windows))
    encode, device = setup.autoencoder.encode, setup.runtime.device

    def given() -> Iterator[Conditioning]:
        for start in range(0, len(parts), spec.batch_size):
            batch = slice(start, start + spec.batch_size)
            with full_precision(device.type), torch.no_grad():
                part = clips_to_tensor(parts[batch]).to(device)
                concat = _stage(run).concat(part, setup.dataset.num_frames, encode)
            yield Conditioning(torch.from_numpy(labels[batch]) if spec.num_classes else None, concat=concat)

    made = []
    with progress_bar(f"{run.config.settings.task}, clips", len(parts)) as advance:
        seed = setup.config.settings.eval.seed
        for batch in generate(run.backbone, setup.autoencoder, setup.runtime, spec, len(parts), seed, given()):
            made.append(batch)
            advance(len(batch))
    joined = np.concatenate(made)
    return joined.reshape(len(clips.clips), len(windows), *joined.shape[1:])


def _cost(run: TrainedRun, shape: tuple[int, ...], windows: int, seconds: float) -> StageCost:
    setup, guided = run.setup, run.config.settings.eval.cfg_scale != 1
    drawn = windows * run.config.settings.eval.candidates
    calls = drawn * calls_per_clip(setup.sampling, setup.dataset.num_frames) * (2 if guided else 1)
    gmacs = calls * count(setup.construct_unfrozen, setup.workload, with_fvcore=False).gmacs
    num, num_frames, height, width = shape
    return StageCost(
        run=str(run.path),
        task=_task(run),
        shape=(num, num_frames, height, width),
        windows=windows,
        gmacs=gmacs,
        seconds=seconds,
    )
