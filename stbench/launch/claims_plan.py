"""What a reproduction would take, told from its words alone: neither videos nor weights need be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stbench.backbones.base import RUN_FACTS
from stbench.diffusion.loss import find_objective
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


def print_claims_plan(arms: Sequence[TrainedArm]) -> None:
    """Print the runs of every arm, the operations of their training, and how long one large GPU would take."""
    if not arms:
        print("nothing is trained: counts and identities alone")
        return
    costs = [training_cost(resolve(arm.words)) for arm in arms]
    rows = [("arm", "runs", "parameters (M)", "training of a run (PFLOPs)")]
    for arm, cost in zip(arms, costs, strict=True):
        rows.append((arm.label, str(len(arm.seeds)), f"{cost.params / 1e6:.4g}", f"{cost.gflops / 1e6:.4g}"))
    print_rows(rows)
    runs = sum(len(arm.seeds) for arm in arms)
    gflops = sum(len(arm.seeds) * cost.gflops for arm, cost in zip(arms, costs, strict=True))
    hours = gflops / (1e3 * UTILISATION * PEAKS[GPU].tflops["bfloat16"]) / 3600
    used = f"{100 * UTILISATION:.0f} % of its peak"
    print(
        f"{runs} runs, {gflops / 1e6:.4g} PFLOPs of training: {hours:.3g} hours of one H100 at {used}, which small "
        "networks do not come near; sampling and decoding come on top"
    )


def training_cost(config: RunConfig) -> TrainingCost:
    """Count what a run's training takes, on the meta device."""
    settings, video = config.settings, config.dataset.settled
    channels, downsampling = LATENTS[settings.autoencoder.name]
    objective = find_objective(settings.diffusion.objective)
    side = video["image_size"] // downsampling
    values = (channels, side, video["num_frames"], 0, objective.learned_variance)  # classes cost next to nothing
    facts = dict(zip(RUN_FACTS, values, strict=True))
    subject = Variant(config.variant, facts, objective.whole_timesteps, settings.train.joint_images).subject
    counts = count(subject.construct, subject.workload, with_fvcore=False)
    step = counts.gmacs_train_step or 3 * counts.gmacs  # a backward pass takes about two forward passes
    return TrainingCost(counts.params_total, 2 * step * settings.train.batch_size * settings.train.steps)
