"""What stbench adds to the work itself: to a training, to sampling, and to `stbench --help`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stbench.backbones.base import Conditioning
from stbench.data.loading import training_batches
from stbench.diffusion.loss import diffusion_loss, sample_timesteps
from stbench.run.folder import RunFolder
from stbench.run.generation import generate
from stbench.run.setup import Setup, prepare
from stbench.run.stages import RunStages
from stbench.runtime.timing import Work, measure, measure_interleaved
from stbench.settings.resolve import resolve
from stbench.storage.lock import locked
from stbench.training.loop import new_state

STEPS = 500
SAMPLED_CLIPS, SAMPLING_STEPS = 16, 10
HELP_SAMPLES = 10
SHARED = ("variant=latte1", "dataset=shapes", "preset=demo")
TRAINING = (
    *SHARED,
    f"train.steps={STEPS}",
    "train.checkpoint_every=500",
    "train.batch_size=8",
    "eval.every=0",
    "eval.untrained=false",
    "eval.validation_clips=0",
)
SAMPLING = (*SHARED, f"eval.num_sampling_steps={SAMPLING_STEPS}", "eval.cfg_scale=4")


def measure_overheads(min_samples: int = 5) -> dict[str, Any]:
    """Time each with and without stbench around it, in turn.

    Returns:
        training (seconds of `STEPS` steps), sampling (of `SAMPLED_CLIPS` clips): samples of both sides, medians, and
        `overhead`, the share by which stbench takes longer; help_s: seconds of `stbench --help`, median.
    """
    training, sampling = prepare(resolve(TRAINING)), prepare(resolve(SAMPLING))
    trainings: dict[str, Work] = {"stbench": partial(_run, training), "bare": partial(_bare_loop, training)}
    command = [sys.executable, "-m", "stbench.cli", "--help"]
    help_timing = measure(
        lambda: subprocess.run(command, check=True, capture_output=True),
        torch.device("cpu"),
        what="help",
        min_samples=HELP_SAMPLES,
        max_seconds=0,
        batch_size=1,
    )
    return {
        "training": {"steps": STEPS, **_compared(trainings, training, min_samples)},
        "sampling": {
            "clips": SAMPLED_CLIPS,
            "steps": SAMPLING_STEPS,
            **_compared(_samplings(sampling), sampling, 4 * min_samples),
        },
        "help_s": help_timing.median,
    }


def _compared(works: dict[str, Work], setup: Setup, min_samples: int) -> dict[str, Any]:
    timings = measure_interleaved(works, setup.runtime.device, min_samples=min_samples, max_seconds=0, batch_size=1)
    medians = {f"{name}_s": timing.median for name, timing in timings.items()}
    samples = {f"{name}_samples": timing.samples for name, timing in timings.items()}
    return {**medians, "overhead": medians["stbench_s"] / medians["bare_s"] - 1, **samples}


def _run(setup: Setup) -> None:
    """The training of a run, with its loss curve, its progress bar, its checkpoint and everything."""
    with tempfile.TemporaryDirectory() as out, locked(folder := Path(out) / "run"):
        stages = RunStages(setup, RunFolder(folder))
        stages.train(stages.initial_state())


def _bare_loop(setup: Setup) -> None:
    """The same steps as somebody would write them who wants nothing else."""
    settings, device = setup.config.settings, setup.runtime.device
    diffusion, objective = settings.diffusion, settings.diffusion.objective
    state = new_state(setup.build_backbone(), settings.train)
    for batch in training_batches(setup.dataset, settings.train.batch_size, settings.seed, 0, settings.train.steps):
        latents, labels = batch.clips.to(device), batch.labels
        if labels is not None:  # a share is dropped, for guidance
            dropped = torch.rand(labels.shape) < settings.train.class_dropout
            labels = torch.where(dropped, setup.dataset.num_classes, labels).to(device)
        timesteps = sample_timesteps(
            objective, len(latents), None, device, diffusion.timestep_density, diffusion.timestep_shift
        )
        with setup.runtime.autocast():
            noise, conditioning = torch.randn_like(latents), Conditioning(class_labels=labels)
            terms = diffusion_loss(state.backbone, latents, timesteps, noise, conditioning, objective)
        state.optimizer.zero_grad(set_to_none=True)
        terms.total.mean().backward()
        nn.utils.clip_grad_norm_(state.backbone.parameters(), 1.0)
        state.optimizer.step()
        state.ema.update(state.backbone)


def _samplings(setup: Setup) -> dict[str, Work]:
    """Guided sampling with everything around it, and its network evaluations alone."""
    backbone, runtime = setup.build_backbone().eval(), setup.runtime
    with torch.device(runtime.device):  # a doubled batch for every step: with and without the label
        latents = torch.randn(2 * SAMPLED_CLIPS, *setup.latent_shape)
        timesteps = torch.full((2 * SAMPLED_CLIPS,), 500.0)
        conditioning = Conditioning(class_labels=torch.zeros(2 * SAMPLED_CLIPS, dtype=torch.int64))

    def stbench() -> None:
        for _ in generate(backbone, setup.autoencoder, runtime, setup.sampling, SAMPLED_CLIPS, 0):
            pass

    def bare() -> None:
        with torch.no_grad(), runtime.autocast():
            for _ in range(SAMPLING_STEPS):
                backbone(latents, timesteps, conditioning)

    return {"stbench": stbench, "bare": bare}
