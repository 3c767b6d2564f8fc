"""From noise to latents: ancestral sampling, DDIM, Euler integration, and classifier-free guidance.

`ddpm` is DDPM's algorithm 2 (arXiv 2006.11239) with the learned variance, or that of the posterior where none is
learned, `ddim` is equation 12 of arXiv 2010.02502, both without clipping, as Latte (arXiv 2401.03048) samples; `euler`
integrates the velocity of rectified flow (arXiv 2209.03003). `fifo-ddim` and `fifo-euler` make clips of any length by a
queue of frames (`fifo`). Guidance follows arXiv 2207.12598: conditional and unconditional prediction in one doubled
batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.diffusion.fifo import Predict, Queue, StepNoise
from stbench.diffusion.loss import Backbone, check_prediction, find_objective
from stbench.diffusion.schedule import NUM_TIMESTEPS, NoiseSchedule, Steps, respaced_steps
from stbench.errors import StbenchError, unknown_name

Progress = Callable[[int, int], None]
"""Told after each step how many of how many are done."""

GUIDED_CHANNELS = ("published", "all")
SPACINGS = ("uniform", "ddim")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How latents are sampled."""

    objective: str  # what the backbone was trained with, a name of `OBJECTIVES`
    sampler: str  # a name of `SAMPLERS` that fits it
    num_sampling_steps: int  # how often the backbone is called
    num_classes: int  # also the null class label of guidance; 0 when unconditional
    # 1 for the conditional prediction alone; otherwise the batch is doubled with the null label and a zero context.
    cfg_scale: float = 1.0
    guided_channels: str = "published"  # or "all": see `guided_channel_count`
    spacing: str = "uniform"  # over all timesteps, first and last included (Latte's); "ddim": a constant stride from 0
    eta: float = 0.0  # DDIM's share of fresh noise, 0 (none) to 1
    window: int | None = None  # F of the backbone, where clips of another length are sampled; None is theirs


Solver = Callable[[Predict, Tensor, Sampling, StepNoise, Progress], Tensor]


@torch.no_grad()
def sample(
    backbone: Backbone,
    noise: Tensor,
    conditioning: Conditioning,
    sampling: Sampling,
    *,
    draw_noise: StepNoise = torch.randn_like,
    progress: Progress | None = None,
) -> Tensor:
    """Turn noise into latents.

    Args:
        backbone: a backbone in evaluation mode, or any callable like it.
        noise: standard normal (B,C,F,H,W), for the samplers of queues of any length F.
        conditioning: of the B clips; no appended images.
        sampling: how.
        draw_noise: source of the fresh noise of each step.
        progress: see `Progress`.

    Returns:
        Latents (B,C,F,H,W), float32.

    Raises:
        StbenchError: for an unknown name, choices that exclude each other, or guidance without any conditioning.
    """
    sampling = replace(sampling, window=sampling.window or noise.shape[2])
    check_sampling(sampling)
    check_length(backbone, sampling, noise.shape[2])
    _, solve = SAMPLERS[sampling.sampler]
    if conditioning.num_images:
        raise StbenchError(f"sampling makes clips only: expected num_images=0, got {conditioning.num_images}")
    predict: Predict = partial(_predict, backbone, conditioning)
    if sampling.cfg_scale != 1.0:
        doubled = _doubled(conditioning, _null_conditioning(conditioning, sampling.num_classes))
        guided = guided_channel_count(backbone, sampling.objective, sampling.guided_channels, noise.shape[1])
        predict = partial(_predict_guided, backbone, doubled, sampling.cfg_scale, guided)
    return solve(predict, noise.float(), sampling, draw_noise, progress or _unheard)


def _unheard(done: int, of: int) -> None:
    """The listener to a sampling that nobody follows."""


def check_sampling(sampling: Sampling) -> None:
    """Refuse what cannot be sampled; cheap enough to ask before a training.

    Raises:
        StbenchError: for an unknown name, choices that exclude each other, or a number of steps that cannot be had.
    """
    objective, sampler, spacing, eta = sampling.objective, sampling.sampler, sampling.spacing, sampling.eta
    straight = find_objective(objective).schedule is None
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    if spacing not in SPACINGS:
        raise unknown_name("spacing", spacing, SPACINGS)
    if sampling.guided_channels not in GUIDED_CHANNELS:
        raise unknown_name("guided_channels", sampling.guided_channels, GUIDED_CHANNELS)
    fitting = [name for name, (objectives, _) in SAMPLERS.items() if objective in objectives]
    if sampler not in fitting:
        raise StbenchError(f"sampler={sampler} does not fit objective={objective}: expected {' or '.join(fitting)}")
    if straight and spacing != "uniform":
        raise StbenchError(f"spacing={spacing} does not fit sampler={sampler}: its steps are always uniform")
    if not 0 <= eta <= 1:
        raise StbenchError(f"eta={eta}: expected a number from 0 to 1")
    if eta and "ddim" not in sampler:
        raise StbenchError(f"eta={eta} does not fit sampler={sampler}: only ddim has it")
    if not straight:
        respaced_steps(_respacing(sampling))
    elif sampling.num_sampling_steps < 1:
        raise StbenchError(f"num_sampling_steps={sampling.num_sampling_steps}: expected at least 1")
    if is_queue(sampler) and sampling.window:
        _queue(sampling)  # refuses what does not divide


def is_queue(sampler: str) -> bool:
    """Whether a sampler makes clips of any length."""
    return sampler.startswith("fifo")


def check_length(backbone: Backbone, sampling: Sampling, num_frames: int) -> None:
    """Refuse clips that a sampler, or the backbone, cannot make.

    Raises:
        StbenchError: another length than the backbone's without a queue, or a queue without timesteps of frames.
    """
    if is_queue(sampling.sampler):
        if not getattr(backbone, "per_frame_timesteps", False):
            raise StbenchError(
                f"sampler={sampling.sampler} gives each frame a timestep of its own, which {type(backbone).__name__} "
                "does not take (per_frame_timesteps)"
            )
    elif sampling.window not in (None, num_frames):
        queues = " or ".join(
            name for name, (fitting, _) in SAMPLERS.items() if is_queue(name) and sampling.objective in fitting
        )
        raise StbenchError(
            f"sampler={sampling.sampler} makes clips of {sampling.window} frames, as the backbone sees: {queues} makes "
            f"{num_frames}"
        )


def calls_per_clip(sampling: Sampling, num_frames: int) -> int:
    """How often a clip of so many frames is given to the backbone, guidance apart."""
    if not is_queue(sampling.sampler):
        return sampling.num_sampling_steps
    queue = _queue(replace(sampling, window=sampling.window or num_frames))
    return queue.num_steps + queue.num_rounds(num_frames) * queue.num_windows


def guided_channel_count(backbone: Backbone, objective: str, guided_channels: str, in_channels: int) -> int:
    """How many channels of a prediction guidance changes, counted from the first; the others stay conditional.

    Args:
        backbone: its `published_guided_channels`, where it has them, are those that its authors guide; else they are
            the C channels of the noise or velocity.
        objective: decides whether a variance is predicted as well.
        guided_channels: "published", or "all", the variance included.
        in_channels: C of the latents.
    """
    if guided_channels == "published":
        return min(getattr(backbone, "published_guided_channels", in_channels), in_channels)
    return 2 * in_channels if find_objective(objective).learned_variance else in_channels


def _sample_ddpm(
    predict: Predict, latents: Tensor, sampling: Sampling, draw_noise: StepNoise, progress: Progress
) -> Tensor:
    """DDPM's algorithm 2, with the learned variance where there is one."""
    schedule = _sampling_schedule(sampling, latents.device)
    for step in reversed(range(schedule.num_steps)):
        told = _read(predict(latents, schedule.timestep_map[step]), latents, step, sampling.objective, schedule)
        mean = schedule.posterior_mean(told.clean, latents, step)
        log_variance = schedule.interpolated_log_variance(told.variance_weights, step)
        latents = mean + (0.5 * log_variance).exp() * draw_noise(latents) if step else mean
        progress(schedule.num_steps - step, sampling.num_sampling_steps)
    return latents


def _sample_ddim(
    predict: Predict, latents: Tensor, sampling: Sampling, draw_noise: StepNoise, progress: Progress
) -> Tensor:
    """DDIM; the learned variance is not used."""
    levels = DdimLevels(sampling, latents.device)
    for step in reversed(range(levels.num_steps)):
        latents = levels.descend(latents, predict(latents, levels.timesteps[step]), step, draw_noise)
        progress(levels.num_steps - step, sampling.num_sampling_steps)
    return latents


def _sample_euler(
    predict: Predict, latents: Tensor, sampling: Sampling, draw_noise: StepNoise, progress: Progress
) -> Tensor:
    """Equal Euler steps along the velocity from noise (share 1, timestep 1000) to clean latents (share 0)."""
    levels = EulerLevels(sampling, latents.device)
    for step in reversed(range(levels.num_steps)):
        latents = levels.descend(latents, predict(latents, levels.timesteps[step]), step, draw_noise)
        progress(levels.num_steps - step, levels.num_steps)
    return latents


class DdimLevels:
    """The noise levels that DDIM goes down.

    Attributes:
        num_steps: S; step 0 leads to clean latents.
        timesteps: (S,) of each.
    """

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self.schedule, self.eta = _sampling_schedule(sampling, device), sampling.eta
        self.objective = sampling.objective
        self.num_steps, self.timesteps = self.schedule.num_steps, self.schedule.timestep_map

    def descend(self, latents: Tensor, prediction: Tensor, steps: Steps, draw_noise: StepNoise) -> Tensor:
        """Take latents one step down."""
        told = _read(prediction, latents, steps, self.objective, self.schedule)
        fresh = draw_noise(latents) if self.eta else None
        return self.schedule.ddim_step(told.clean, told.noise, steps, self.eta, fresh)

    def noised(self, clean: Tensor, noise: Tensor, steps: Steps) -> Tensor:
        """Clean latents as they are before these steps."""
        return self.schedule.add_noise(clean, noise, steps)


class EulerLevels:
    """The noise levels that Euler steps go down, equally spaced; attributes as of `DdimLevels`."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self.num_steps = sampling.num_sampling_steps
        self.timesteps = torch.linspace(NUM_TIMESTEPS, 0, self.num_steps + 1, device=device)[:-1].flip(0)

    def descend(self, latents: Tensor, prediction: Tensor, steps: Steps, draw_noise: StepNoise) -> Tensor:
        """Take latents one step down; all steps are equal."""
        check_prediction(prediction, latents, learned_variance=False)
        return latents - prediction / self.num_steps

    def noised(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Clean latents as they are before these steps (1 or B, F)."""
        share = (self.timesteps[steps] / NUM_TIMESTEPS)[:, None, :, None, None]
        return (1 - share) * clean + share * noise


def _sample_queue(
    predict: Predict, latents: Tensor, sampling: Sampling, draw_noise: StepNoise, progress: Progress
) -> Tensor:
    """FIFO-Diffusion."""
    levels_class = EulerLevels if find_objective(sampling.objective).schedule is None else DdimLevels
    return _queue(sampling).sample(predict, latents, levels_class(sampling, latents.device), draw_noise, progress)


def _queue(sampling: Sampling) -> Queue:
    assert sampling.window is not None
    return Queue(sampling.num_sampling_steps, sampling.window, lookahead=not sampling.sampler.endswith("-disjoint"))


SCHEDULED = ("ddpm", "x0")
SAMPLERS: dict[str, tuple[tuple[str, ...], Solver]] = {
    "ddpm": (SCHEDULED, _sample_ddpm),
    "ddim": (SCHEDULED, _sample_ddim),
    "fifo-ddim": (SCHEDULED, _sample_queue),
    "fifo-ddim-disjoint": (SCHEDULED, _sample_queue),
    "euler": (("flow",), _sample_euler),
    "fifo-euler": (("flow",), _sample_queue),
    "fifo-euler-disjoint": (("flow",), _sample_queue),
}
"""Name of a sampler -> the objectives that it fits, and its solver."""


def _sampling_schedule(sampling: Sampling, device: torch.device) -> NoiseSchedule:
    schedule = find_objective(sampling.objective).schedule
    assert schedule is not None, f"objective={sampling.objective} adds no noise by a schedule"
    return schedule().respaced(_respacing(sampling)).to(device)


def _respacing(sampling: Sampling) -> str:
    """The timesteps of a sampling, as `respaced_steps` reads them."""
    return f"{'ddim' if sampling.spacing == 'ddim' else ''}{sampling.num_sampling_steps}"


class Told(NamedTuple):
    """What a prediction says of noisy latents: what they were, the noise in them, and its variance."""

    clean: Tensor
    noise: Tensor
    variance_weights: Tensor  # as of `NoiseSchedule.interpolated_log_variance`


def _read(prediction: Tensor, latents: Tensor, steps: Steps, objective: str, schedule: NoiseSchedule) -> Told:
    """Read a prediction by what the backbone was trained to predict; without a variance it is the posterior's."""
    check_prediction(prediction, latents, find_objective(objective).learned_variance)
    if objective == "x0":
        noise = schedule.noise_from_clean(latents, prediction, steps)
        return Told(prediction, noise, torch.full_like(prediction, -1))
    noise, variance_weights = prediction.chunk(2, dim=1)
    return Told(schedule.clean_from_noise(latents, noise, steps), noise, variance_weights)


def _predict(backbone: Backbone, conditioning: Conditioning, latents: Tensor, timestep: Tensor) -> Tensor:
    return backbone(latents, timestep.expand(len(latents), *timestep.shape), conditioning).float()


def _predict_guided(
    backbone: Backbone, doubled: Conditioning, cfg_scale: float, guided: int, latents: Tensor, timestep: Tensor
) -> Tensor:
    """Predict u + cfg_scale * (c - u) from conditional c and unconditional u, in the first `guided` channels."""
    both = _predict(backbone, doubled, torch.cat([latents, latents]), timestep)
    conditional, unconditional = both.chunk(2)
    guidance = unconditional + cfg_scale * (conditional - unconditional)
    return torch.cat([guidance[:, :guided], conditional[:, guided:]], dim=1)


def _null_conditioning(conditioning: Conditioning, num_classes: int) -> Conditioning:
    """What the unconditional half of a doubled batch sees: the null label, a zero context, and the same of all else."""
    labels, context = conditioning.class_labels, conditioning.context
    if labels is None and context is None:
        raise StbenchError("guidance needs class labels or a context: with neither, expected cfg_scale=1")
    if labels is not None and num_classes < 1:
        raise StbenchError(f"guidance by class labels needs the backbone's num_classes, got {num_classes}")
    return replace(
        conditioning,
        class_labels=None if labels is None else torch.full_like(labels, num_classes),
        context=None if context is None else torch.zeros_like(context),
    )


def _doubled(conditional: Conditioning, unconditional: Conditioning) -> Conditioning:
    """Both conditionings in one batch, the conditional half first."""
    both = {
        name: torch.cat([value, getattr(unconditional, name)])
        for name, value in vars(conditional).items()
        if isinstance(value, Tensor)
    }
    return Conditioning(**both)  # type: ignore[arg-type]
