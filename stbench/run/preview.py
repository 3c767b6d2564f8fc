"""A run before it runs: the costs of its network for `stbench profile`, and what it would take for `--dry-run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from stbench.backbones.contract import refuse_broken
from stbench.diffusion.samplers import calls_per_clip
from stbench.errors import StbenchError
from stbench.profiling.ceilings import matmul_ceiling
from stbench.profiling.counts import FVCORE_MAX_GMACS, FVCORE_MAX_PARAMETERS, count
from stbench.profiling.footprint import Footprint, footprint
from stbench.profiling.profile import recorded
from stbench.profiling.variants import (
    Planned,
    Variant,
    measure_planned,
    naming_all,
    plan_variants,
    variant_names,
)
from stbench.profiling.workbench import Workbench
from stbench.progress import console
from stbench.records.costs import Profile
from stbench.records.measures import Kind
from stbench.records.protocol import protocol_hash
from stbench.records.sections import CostConditions, Counts, Timing
from stbench.run.setup import Setup, prepare
from stbench.run.validation import Validator
from stbench.runtime.device import PRECISIONS
from stbench.runtime.failure import Failure, attempt
from stbench.runtime.timing import measure
from stbench.settings.options import ProfileOptions
from stbench.settings.resolve import Words, parse_overrides, resolve
from stbench.settings.schema import RunConfig, lookup
from stbench.training.start import initialise_from

# What all variants of a profile are measured under.
_SHARED = ("precision", "attention", "compile", "device", "diffusion.objective", "train.batch_size")


def profile_words(words: Words, options: ProfileOptions) -> Profile:
    """Profile variants: with a dataset as the networks of runs, without one by themselves.

    Args:
        words: with `dataset=` those of a run, of which `variant` may name several; else as of `profile_variants`.
        options: what to do.

    Raises:
        StbenchError, FinishedInPart: for words that no run can have, and as of `measure_planned`.
    """
    given = parse_overrides(words)
    planned = plan_runs(given, options) if "dataset" in given else plan_variants(given, options)
    return measure_planned(planned, options)


def plan_runs(given: dict[str, Any], options: ProfileOptions) -> Planned:
    """The networks of the runs that parsed words describe, with the input and the batch of their training."""
    if options.latents:
        raise StbenchError("--latents: those of a run follow from its dataset: leave out --latents or dataset=")
    names = variant_names(given)
    with naming_all(names):
        setups = {name: prepare(resolve({**given, "variant": name})) for name in names}
    settings = [setup.config.settings for setup in setups.values()]
    for key in _SHARED:
        values = {str(lookup(each, key)) for each in settings}
        if len(values) > 1:
            raise StbenchError(f"{key} is {' and '.join(sorted(values))} in these runs: name one for all of them")
    variants = {name: variant_of(setup) for name, setup in setups.items()}
    return Planned(variants, settings[0], options.batch_size or settings[0].train.batch_size)


def variant_of(setup: Setup) -> Variant:
    """The network of a run."""
    task, config = setup.task, setup.config
    return Variant(
        config.variant,
        setup.backbone_arguments,
        task.whole_timesteps,
        task.joint_images,
        config.settings.train.freeze,
        config.preset,
        context_shape=task.context_shape,
        concat_channels=task.concat_channels,
    )


@dataclass(frozen=True)
class Forecast:
    """What a run would be.

    Attributes:
        config: resolved, with what the run is made of.
        latent_shape: (C, F, H, W) of a clip.
        num_classes: 0 when unconditional.
        num_tokens: of a clip; None where the backbone does not tell.
        counts: parameters and operations.
        memory: of a training step.
        training_gmacs: 10^9 multiply-accumulates of all its steps.
        no_validation: why it would have no validation loss, None where it would have one.
        network_evaluations: of one clip each, for judging the run.
        ceiling_gflops_per_s: measured speed of a large matrix product on its device, in its precision.
        conditions: that its costs will be measured under.
        judged_by: by kind of measure, the hash of what its figures are measured under.
    """

    config: RunConfig
    latent_shape: tuple[int, int, int, int]
    num_classes: int
    num_tokens: int | None
    counts: Counts
    memory: Footprint
    training_gmacs: float | None
    no_validation: str | None
    network_evaluations: int
    ceiling_gflops_per_s: float
    conditions: CostConditions
    judged_by: Mapping[Kind, str]

    @property
    def sampling_gmacs(self) -> float:
        """10^9 multiply-accumulates of all its evaluations."""
        return self.counts.gmacs * self.network_evaluations

    def least_seconds(self, gmacs: float) -> float:
        """How long so many operations take at least."""
        return 2 * gmacs / self.ceiling_gflops_per_s


def forecast(setup: Setup) -> Forecast:
    """Look at all that a run would build, its network on the meta device, and refuse what the run would.

    Raises:
        StbenchError: for whatever does not fit together.
    """
    settings = setup.config.settings
    counts = count(setup.construct_backbone, setup.workload, with_fvcore=False)
    _refuse_backbone(setup, counts)
    with torch.device("meta"):
        num_tokens = getattr(setup.construct_backbone(), "num_tokens", None)
    step = counts.gmacs_train_step
    return Forecast(
        config=setup.config,
        latent_shape=setup.latent_shape,
        num_classes=setup.num_classes,
        num_tokens=num_tokens,
        counts=counts,
        memory=footprint(setup.construct_backbone, setup.workload, settings.train.batch_size),
        training_gmacs=None if step is None else step * settings.train.batch_size * settings.train.steps,
        no_validation=setup.no_validation,
        network_evaluations=_network_evaluations(setup),
        ceiling_gflops_per_s=matmul_ceiling(setup.runtime.device, PRECISIONS[setup.runtime.precision]),
        conditions=recorded(setup.subject, setup.conditions),
        judged_by=_judged_by(setup),
    )


def timed_steps(setup: Setup, steps: Sequence[str]) -> dict[str, Timing]:
    """Time a few steps of a run's network, not compiled; nothing where one of them fails, which the run will tell."""
    conditions = replace(setup.conditions, compile_mode="off")

    def timed(workbench: Workbench, step: str) -> Timing:
        work, clips = workbench.work(step), conditions.batch_size
        return measure(work, workbench.device, what=step, min_samples=3, max_seconds=1, batch_size=clips)

    def all_timed() -> dict[str, Timing]:
        workbench = Workbench(setup.subject, conditions)
        return {step: timed(workbench, step) for step in steps}

    outcome = attempt(all_timed)
    return {} if isinstance(outcome, Failure) else outcome


def _refuse_backbone(setup: Setup, counts: Counts) -> None:
    """Refuse a backbone that breaks the contract, if it answers within seconds, and weights that do not fit it."""
    name = f"variant {setup.config.variant.name!r}"
    if counts.params_total < FVCORE_MAX_PARAMETERS and counts.gmacs < FVCORE_MAX_GMACS:
        for verdict in refuse_broken(setup.construct_unfrozen, setup.task, name):
            console().print(f"warning: {name}: {verdict.name}: {verdict.reason}", soft_wrap=True)
    else:
        console().print(f"{name} is large: whether it keeps the contract of a backbone is asked when it runs")
    init = setup.config.settings.train.init
    if init:
        initialise_from(setup.build_backbone(), init, setup.architecture)


def _judged_by(setup: Setup) -> dict[Kind, str]:
    hashes: dict[Kind, str] = {"quality": protocol_hash(setup.protocol)}
    if setup.validation_set:
        hashes["validation"] = Validator(setup, setup.validation_set).protocol_hash
    return hashes


def _network_evaluations(setup: Setup) -> int:
    """How often a run evaluates its network on one clip to judge itself: at the end, at the beginning, on the way."""
    settings = setup.config.settings
    final, cheaper, num_frames = settings.eval, setup.during_training, setup.dataset.num_frames
    on_the_way = cheaper.config.settings.eval
    judged = 1 + (final.untrained and settings.train.steps > 0)
    evaluations = judged * final.num_clips * calls_per_clip(setup.sampling, num_frames)
    if final.every:
        points = settings.train.steps // final.every + 1
        evaluations += points * on_the_way.num_clips * calls_per_clip(cheaper.sampling, num_frames)
    evaluations *= 2 if final.cfg_scale != 1 else 1
    if setup.validation_set:
        validator = Validator(setup, setup.validation_set)
        evaluations += len(validator.steps) * len(validator.grid)
    return evaluations
