"""What stbench adds to the work itself: to a training, to sampling, and to `stbench --help`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
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
from stbench.training.loop import new_state

STEPS = 500
SAMPLED_CLIPS, SAMPLING_STEPS = 16, 10
HELP_SAMPLES = 10
SHARED = ("variant=latte1", "dataset=shapes", "preset=demo")
TRAINING = (*SHARED, f"train.steps={STEPS}", "train.checkpoint_every=500", "train.batch_size=8", "eval.every=0")
SAMPLING = (*SHARED, f"eval.num_sampling_steps={SAMPLING_STEPS}", "eval.cfg_scale=4")


def measure_overheads(min_samples: int = 5) -> dict[str, Any]:
    """Time each with and without stbench around it, in turn.

    Returns:
        training (seconds of `STEPS` steps), sampling (of `SAMPLED_CLIPS` clips): samples of both sides, medians, and
        `overhead`, the share by which stbench takes longer; help_s: seconds of `stbench --help`, median.
    """
    training, sampling = prepare(resolve(TRAINING)), prepare(resolve(SAMPLING))
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
        "training": {
            "steps": STEPS,
            **_compared({"stbench": _run(training), "bare": _bare_loop(training)}, training, min_samples),
        },
        "sampling": {
            "clips": SAMPLED_CLIPS,
            "steps": SAMPLING_STEPS,
            **_compared({"stbench": _sampling(sampling), "bare": _network_alone(sampling)}, sampling, 4 * min_samples),
        },
        "help_s": help_timing.median,
    }


def _compared(works: dict[str, Work], setup: Setup, min_samples: int) -> dict[str, Any]:
    timings = measure_interleaved(works, setup.runtime.device, min_samples=min_samples, max_seconds=0, batch_size=1)
    medians = {f"{name}_s": timing.median for name, timing in timings.items()}
    samples = {f"{name}_samples": timing.samples for name, timing in timings.items()}
    return {**medians, "overhead": medians["stbench_s"] / medians["bare_s"] - 1, **samples}


def _run(setup: Setup) -> Work:
    """The training of a run, with its loss curve, its progress bar, its checkpoint and everything."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            stages = RunStages(setup, RunFolder(Path(folder)))
            state = stages.initial_state()
            stages.train(state)

    return work


def _bare_loop(setup: Setup) -> Work:
    """The same steps as somebody would write them who wants nothing else."""
    settings = setup.config.settings

    def work() -> None:
        state = new_state(setup.build_backbone(), settings.train)
        for batch in training_batches(setup.dataset, settings.train.batch_size, settings.seed, 0, settings.train.steps):
            latents, labels = batch.clips.to(setup.runtime.device), batch.labels
            if labels is not None:  # a share is dropped, for guidance
                dropped = torch.rand(labels.shape) < settings.train.class_dropout
                labels = torch.where(dropped, setup.dataset.num_classes, labels).to(setup.runtime.device)
            timesteps = sample_timesteps(
                settings.diffusion.objective, len(latents), None, latents.device, settings.diffusion.timestep_density
            )
            with setup.runtime.autocast():
                noise, conditioning = torch.randn_like(latents), Conditioning(class_labels=labels)
                terms = diffusion_loss(
                    state.backbone, latents, timesteps, noise, conditioning, settings.diffusion.objective
                )
            state.optimizer.zero_grad(set_to_none=True)
            terms.total.mean().backward()
            nn.utils.clip_grad_norm_(state.backbone.parameters(), 1.0)
            state.optimizer.step()
            state.ema.update(state.backbone)

    return work


def _sampling(setup: Setup) -> Work:
    """Clips from noise, guided, decoded."""
    backbone = setup.build_backbone().eval()

    def work() -> None:
        for _ in generate(backbone, setup.autoencoder, setup.runtime, setup.sampling, SAMPLED_CLIPS, 0, "bench"):
            pass

    return work


def _network_alone(setup: Setup) -> Work:
    """The network evaluations of the same sampling: one doubled batch for every step."""
    backbone, runtime = setup.build_backbone().eval(), setup.runtime
    with torch.device(runtime.device):
        latents = torch.randn(2 * SAMPLED_CLIPS, *setup.latent_shape)
        timesteps = torch.full((2 * SAMPLED_CLIPS,), 500.0)
        labels = torch.zeros(2 * SAMPLED_CLIPS, dtype=torch.int64)

    def work() -> None:
        with torch.no_grad(), runtime.autocast():
            for _ in range(SAMPLING_STEPS):
                backbone(latents, timesteps, Conditioning(class_labels=labels))

    return work
