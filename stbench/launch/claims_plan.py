"""What a reproduction would take, told from its words alone: neither videos nor weights need be there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stbench.backbones.base import RUN_FACTS
from stbench.diffusion.loss import find_objective
from stbench.errors import StbenchError
from stbench.launch.arms import Arm
from stbench.launch.cells import prepare_cells
from stbench.launch.execution import threads_of, usual_jobs
from stbench.launch.outlook import earlier_records, look_ahead
from stbench.launch.terminal import duration
from stbench.launch.trained_arms import TrainedArm
from stbench.profiling.counts import count
from stbench.profiling.peaks import PEAKS
from stbench.profiling.variants import Variant
from stbench.reports.terminal import print_rows
from stbench.settings.resolve import resolve
from stbench.settings.schema import RunConfig

GPU = "NVIDIA H100 80GB HBM3"
UTILISATION = 0.4  # of its peak in bfloat16, which large networks come to
LATENTS = {"pixels": (3, 1), "sd-vae": (4, 8), "taesd": (4, 8)}  # channels, and pixels along a side of one of a latent


@dataclass(frozen=True)
class TrainingCost:
    """What the training of one run of an arm takes; operations with those of its images in joint training."""

    params: int
    gflops: float


def print_claims_plan(arms: Sequence[TrainedArm], out: Path, jobs: int | None) -> None:
    """Print the runs of every arm and what they take: operations, time here, and how long one large GPU would train.

    Args:
        arms: what a scale trains.
        out: the folder of the runs, whose earlier ones tell the time.
        jobs: how many run at once; None for as many as usual.
    """
    if not arms:
        print("nothing is trained: counts and identities alone")
        return
    costs = {arm: training_cost(resolve(arm.words)) for arm in arms}
    try:
        seconds, jobs = _seconds_here(arms, out, jobs)
        in_all = sum(len(arm.seeds) * (seconds[arm] or math.nan) for arm in arms) / jobs
        time = f"{duration(None if math.isnan(in_all) else in_all)}, {jobs} at once"
    except StbenchError as error:  # videos or weights that are not here
        seconds, time = {}, f"not known ({error})"
    rows = [("arm", "runs", "parameters (M)", "training of a run (PFLOPs)", "time of a run here")]
    for arm, cost in costs.items():
        figures = f"{cost.params / 1e6:.4g}", f"{cost.gflops / 1e6:.4g}"
        rows.append((arm.label, str(len(arm.seeds)), *figures, duration(seconds.get(arm))))
    print_rows(rows)
    gflops = sum(len(arm.seeds) * cost.gflops for arm, cost in costs.items())
    hours = gflops / (1e3 * UTILISATION * PEAKS[GPU].tflops["bfloat16"]) / 3600
    print(
        f"{sum(len(arm.seeds) for arm in arms)} runs, {gflops / 1e6:.4g} PFLOPs of training: {hours:.3g} hours of one "
        f"H100 at {100 * UTILISATION:.0f} % of its peak, which small networks do not come near; sampling and decoding "
        "come on top"
    )
    print(f"time here: {time}")


def _seconds_here(
    arms: Sequence[TrainedArm], out: Path, jobs: int | None
) -> tuple[dict[TrainedArm, float | None], int]:
    """How long a run of each arm takes on this machine, and how many run at once.

    Neither the learning rate nor what a training starts from changes it, so no run has to be there to start from.
    """
    own = {_measured_as(arm): Arm(arm.label, arm.words) for arm in arms if arm.rate == 1}
    jobs = jobs or usual_jobs(prepare_cells(list(own.values()), out))
    ahead = look_ahead(list(own.values()), threads_of(jobs), earlier_records([out]))
    return {arm: ahead[own[_measured_as(arm)]].seconds for arm in arms}, jobs


def _measured_as(arm: TrainedArm) -> tuple[str, str]:
    """What runs that take equally long have in common."""
    return arm.name, arm.dataset


def training_cost(config: RunConfig) -> TrainingCost:
    """Count what a run's training takes, on the meta device."""
    settings, video = config.settings, config.dataset.settled
    channels, downsampling = LATENTS[settings.autoencoder.name]
    objective = find_objective(settings.diffusion.objective)
    side = video["image_size"] // downsampling
    values = (channels, side, video["num_frames"], 0, objective.learned_variance)  # classes cost next to nothing
    facts = dict(zip(RUN_FACTS, values, strict=True))
    train = settings.train
    subject = Variant(config.variant, facts, objective.whole_timesteps, train.joint_images, train.freeze).subject
    counts = count(subject.construct, subject.workload, with_fvcore=False)
    step = counts.gmacs_train_step or 3 * counts.gmacs  # a backward pass takes about two forward passes
    return TrainingCost(counts.params_total, 2 * step * settings.train.batch_size * settings.train.steps)
