"""The training loop: AdamW, gradient clipping, averaged weights, a loss curve written as it goes.

Step s draws its clips, timesteps, noise, dropped labels and the network's own dropout from (seed, s) alone. So a run
that is resumed at step s goes on exactly as if it had never stopped, and nothing depends on how many processes read the
clips.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stbench.backbones.base import Conditioning
from stbench.data.autoencoders import Autoencoder
from stbench.data.context import FrameContext
from stbench.data.loading import Batch
from stbench.diffusion.loss import LossTerms, diffusion_loss, sample_timesteps
from stbench.runtime.device import Runtime
from stbench.runtime.seeds import generator, seed_networks_own_draws
from stbench.runtime.timing import Stopwatch
from stbench.settings.schema import DiffusionConfig, TrainConfig
from stbench.signals import Interrupted, deferred
from stbench.tasks.restorations import Restoration
from stbench.training.checkpoint import TrainingState, list_checkpoints, save_checkpoint
from stbench.training.divergence import TrainingDiverged, first_non_finite
from stbench.training.ema import Ema
from stbench.training.loss_curve import LossCurve, StepLog


@dataclass(frozen=True)
class TrainingJob:
    """What one training consists of, besides the state that it changes.

    Attributes:
        config: how to train.
        diffusion: what the backbone learns to predict.
        seed: of data order, timesteps, noise and dropped labels.
        num_classes: also the null label; 0 when unconditional.
        runtime: device and precision.
        autoencoder: turns clips into latents.
        restoration: its task, where a part of every clip is given; None where clips are made whole.
        frame_context: makes the context of clips; None where the backbone reads classes.
        folder: the run's folder; checkpoints and the loss curve go there.
        config_hash: of the run, for its checkpoints.
        architecture: what the backbone is, for its checkpoints.
    """

    config: TrainConfig
    diffusion: DiffusionConfig
    seed: int
    num_classes: int
    runtime: Runtime
    autoencoder: Autoencoder
    folder: Path
    config_hash: str
    architecture: Mapping[str, Any]
    restoration: Restoration | None = None
    frame_context: FrameContext | None = None

    @property
    def loss_curve(self) -> Path:
        """The CSV file that gets one line per step."""
        return self.folder / "loss.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"


def new_state(backbone: nn.Module, config: TrainConfig) -> TrainingState:
    """The state before the first step."""
    trainable = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return TrainingState(backbone.train(), Ema(backbone, config.ema_decay), optimizer)


def train(
    state: TrainingState,
    job: TrainingJob,
    batches: Iterator[Batch],
    after_step: Callable[[TrainingState, StepLog], None],
    check_folder: Callable[[TrainingState], None] = lambda state: None,
) -> None:
    """Train from `state.step` to the last step, saving checkpoints on the way and at the end.

    Args:
        state: changed in place.
        job: what to do.
        batches: one per step, from `state.step` on.
        after_step: called with the state and the step's figures after each step.
        check_folder: called before each checkpoint; raises when the folder is no longer this training's.

    Raises:
        TrainingDiverged: when the loss or a gradient is not finite, before the step is taken.
        Interrupted: by a signal, after the step that it came in; a checkpoint of that step is written first.
    """
    last_step, saved = job.config.steps, state.step
    with contextlib.closing(LossCurve(job.loss_curve, state.step)) as curve:

        def save() -> None:
            nonlocal saved
            check_folder(state)
            curve.flush()
            save_checkpoint(state, job.checkpoints, job.config_hash, job.architecture)
            saved = state.step

        try:
            while state.step < last_step:
                with deferred():
                    with Stopwatch(job.runtime.device) as watch:
                        log = training_step(state, job, next(batches))
                    curve.append(log.line(watch.seconds))
                    if state.step % job.config.checkpoint_every == 0 or state.step == last_step:
                        save()
                after_step(state, log)
        except Interrupted:
            if state.step != saved:
                save()
            raise
        if not list_checkpoints(job.checkpoints):  # no steps were asked for: what was started from is the result
            save()


def training_step(state: TrainingState, job: TrainingJob, batch: Batch) -> StepLog:
    """Take one optimizer step.

    Raises:
        TrainingDiverged: see `train`.
    """
    config, step = job.config, state.step
    terms = _loss(state.backbone, job, batch, step)
    total = terms.total.mean()
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    limit = config.gradient_clip_norm if step >= config.gradient_clip_from_step else None
    norm = nn.utils.clip_grad_norm_(state.backbone.parameters(), math.inf if limit is None else limit)
    means = [term.mean() for term in (terms.mse, terms.vb) if term is not None]
    loss, grad_norm, mse, *vb = torch.stack([total, norm, *means]).tolist()  # one synchronisation
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        culprit = first_non_finite(state.backbone, lambda: _loss(state.backbone, job, batch, step).total)
        raise TrainingDiverged(
            f"training diverged at step {step + 1}: loss {loss:g}, gradient norm {grad_norm:g}; {culprit}; "
            f"precision={job.runtime.precision}, attention={job.runtime.attention}, lr={config.lr:g}"
        )
    lr = learning_rate(config, step)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.optimizer.step()
    state.ema.update(state.backbone)
    state.step = step + 1
    return StepLog(step=state.step, loss=loss, mse=mse, vb=vb[0] if vb else None, grad_norm=grad_norm, lr=lr)


def learning_rate(config: TrainConfig, step: int) -> float:
    """The learning rate of step `step`, counted from 0: a linear warm-up, then constant or half a cosine down to 0."""
    if step < config.lr_warmup_steps:
        return config.lr * (step + 1) / config.lr_warmup_steps
    if config.lr_schedule == "constant":
        return config.lr
    share = (step - config.lr_warmup_steps) / max(1, config.steps - config.lr_warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * share))


def _loss(backbone: nn.Module, job: TrainingJob, batch: Batch, step: int) -> LossTerms:
    """The loss of one batch under the randomness of one step."""
    device = job.runtime.device
    seed_networks_own_draws(device, job.seed, "step", step)
    random = generator(device, job.seed, "train", step)
    clips = batch.clips.to(device, non_blocking=True)
    encode = partial(job.autoencoder.encode, generator=random)
    latents = encode(clips)  # (B, C, F, H, W)
    concat = job.restoration.of(clips, latents, encode) if job.restoration else None  # (B, E, F, H, W)
    context = job.frame_context(clips) if job.frame_context else None  # (B, L, D)
    labels = batch.labels.to(device) if batch.labels is not None and job.num_classes else None  # (B,)

    # The images of joint training: random frames of random clips of the batch, each with the label of its clip.
    (B, _, F, _, _), K = latents.shape, job.config.joint_images
    image_labels = None
    if K:
        chosen = torch.randint(B, (B, K), generator=random, device=device)
        frames = torch.randint(F, (B, K), generator=random, device=device)
        images = latents.transpose(1, 2)[chosen, frames].transpose(1, 2)  # (B, C, K, H, W)
        latents = torch.cat([latents, images], dim=2)
        image_labels = None if labels is None else labels[chosen]  # (B, K)

    # A share of the labels becomes the null class (arXiv 2207.12598, algorithm 1): those of the images first, as in
    # Latte's code all K of a clip or none, then those of the clips; a share of the contexts becomes zeros.
    dropped_share, null_class = job.config.class_dropout, job.num_classes
    if image_labels is not None:
        dropped = torch.rand((B, 1), generator=random, device=device) < dropped_share
        image_labels = torch.where(dropped, null_class, image_labels)
    if labels is not None:
        dropped = torch.rand(labels.shape, generator=random, device=device) < dropped_share
        labels = torch.where(dropped, null_class, labels)
    if context is not None:
        dropped = torch.rand((B, 1, 1), generator=random, device=device) < dropped_share
        context = torch.where(dropped, 0, context)

    objective, density, shift = job.diffusion.objective, job.diffusion.timestep_density, job.diffusion.timestep_shift
    timesteps = sample_timesteps(objective, len(latents), random, device, density, shift)
    noise = torch.randn(latents.shape, generator=random, device=device)
    fps = batch.fps.to(device) if batch.fps is not None else None  # (B,)
    conditioning = Conditioning(labels, context, fps, num_images=K, image_labels=image_labels, concat=concat)
    with job.runtime.autocast():
        return diffusion_loss(backbone, latents, timesteps, noise, conditioning, objective)
