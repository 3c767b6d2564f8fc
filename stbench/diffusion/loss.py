"""Training objectives: Latte's learned-variance DDPM, rectified flow, and what was there before the noise.

`ddpm` is the hybrid objective of Improved DDPM (arXiv 2102.09672, section 3.1) as DiT and Latte (arXiv 2401.03048)
train it: mean squared error of the predicted noise, plus one term of the variational bound that trains only the
variance. The bound is in bits per element, enters with weight 1 and is not multiplied by the number of timesteps.
`flow` is rectified flow (arXiv 2209.03003, equation 1): the straight line from clean latents to noise, and its
velocity. `x0` is what DALL-E 2's prior is trained with (arXiv 2204.06125, equation 2): the clean latents themselves,
noised by a cosine schedule.

Everything after the backbone is computed in float32, whatever precision the backbone runs in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from stbench.backbones.base import Conditioning
from stbench.diffusion.schedule import NUM_TIMESTEPS, NoiseSchedule
from stbench.errors import StbenchError, unknown_name

Backbone = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""forward(noisy_latents (B,C,F,H,W), timesteps (B,), conditioning) -> prediction; a module or any other callable."""


@dataclass(frozen=True)
class LossTerms:
    """Per-sample loss terms.

    Attributes:
        mse: (B,) mean squared error of the predicted noise, velocity or clean latents.
        vb: (B,) term of the variational bound in bits per element; None when the objective has none.
    """

    mse: Tensor
    vb: Tensor | None

    @property
    def total(self) -> Tensor:
        """What is minimised: (B,)."""
        return self.mse if self.vb is None else self.mse + self.vb


@dataclass(frozen=True)
class Objective:
    """A way of training: how timesteps are drawn, and the loss at them.

    Attributes:
        loss: of a backbone on clean latents, at timesteps, with noise, under conditioning.
        timestep_densities: by which timesteps may be drawn.
        learned_variance: whether the backbone must predict 2C channels.
        whole_timesteps: whether timesteps are integers.
        schedule: how noise is added; None along a straight line.
    """

    loss: Callable[[Backbone, Tensor, Tensor, Tensor, Conditioning], LossTerms]
    timestep_densities: dict[str, Callable[[int, torch.Generator | None, torch.device], Tensor]]
    learned_variance: bool
    whole_timesteps: bool
    schedule: Callable[[], NoiseSchedule] | None = None


def diffusion_loss(
    backbone: Backbone,
    latents: Tensor,
    timesteps: Tensor,
    noise: Tensor,
    conditioning: Conditioning,
    objective: str = "ddpm",
) -> LossTerms:
    """Noise the latents, let the backbone predict, and score the prediction.

    Args:
        backbone: see `Backbone`; it predicts 2C channels for "ddpm", C for the others.
        latents: clean latents (B,C,F,H,W).
        timesteps: (B,) in [0, 1000), as the backbone sees them; integers but for "flow".
        noise: standard normal, the latents' shape.
        conditioning: handed on to the backbone.
        objective: a name of `OBJECTIVES`.

    Returns:
        The loss of each sample, float32.

    Raises:
        StbenchError: for an unknown objective, timesteps that it does not have (out of range on a CPU alone: on a GPU
            every step would wait), or a prediction of another shape.
    """
    found = find_objective(objective)
    _check_timesteps(timesteps, found.whole_timesteps)
    return found.loss(backbone, latents.float(), timesteps, noise.float(), conditioning)


def sample_timesteps(
    objective: str,
    batch_size: int,
    generator: torch.Generator | None,
    device: torch.device,
    density: str = "uniform",
    shift: float = 1.0,
) -> Tensor:
    """Draw the timesteps of a training batch, in [0, 1000).

    Args:
        objective: "flow" draws real numbers, the others integers.
        batch_size: B.
        generator: where the randomness comes from, on any device; torch's default generator when None.
        device: where the timesteps are wanted.
        density: "uniform"; for "flow" also "logit_normal" of mean 0 and deviation 1, which favours the middle
            (arXiv 2403.03206, section 3.1).
        shift: for "flow": above 1 towards noise, where the frames of a clip are decided together; 1 for no shift.

    Returns:
        (B,), float32 for "flow", int64 for the others.

    Raises:
        StbenchError: for an unknown objective, or a density that it does not have.
    """
    densities = find_objective(objective).timestep_densities
    if density not in densities:
        raise unknown_name(f"timestep density of objective {objective}", density, densities)
    timesteps = densities[density](batch_size, generator, device)
    return timesteps if shift == 1 else _shifted(timesteps, shift)


def find_objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        StbenchError: when there is none.
    """
    if name not in OBJECTIVES:
        raise unknown_name("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


def check_prediction(prediction: Tensor, latents: Tensor, learned_variance: bool) -> None:
    """Refuse a prediction that is not of the latents' shape, with 2C channels where a variance is learned.

    Raises:
        StbenchError: saying what was expected, or what the backbone should have been built with.
    """
    (B, C, *rest), got = latents.shape, tuple(prediction.shape)
    channels = 2 * C if learned_variance else C
    if got == (B, channels, *rest):
        return
    if len(got) == latents.ndim and got[1] != channels:
        raise StbenchError(
            f"the backbone predicted {got[1]} channels for latents of {C}, expected {channels}: build it with "
            f"learned_variance={learned_variance} for this objective"
        )
    raise StbenchError(f"the backbone's prediction is {got}, expected {(B, channels, *rest)}")


def _check_timesteps(timesteps: Tensor, whole: bool) -> None:
    """Refuse timesteps out of range, and real numbers where the objective has integers."""
    expected = f"{'integers' if whole else 'numbers'} of at least 0 and below {NUM_TIMESTEPS}"
    if whole and timesteps.is_floating_point():
        raise StbenchError(f"timesteps of type {timesteps.dtype}: expected {expected}")
    if timesteps.device.type == "cpu":
        least, largest = timesteps.min().item(), timesteps.max().item()
        if not (least >= 0 and largest < NUM_TIMESTEPS):
            raise StbenchError(f"timesteps from {least:g} to {largest:g}: expected {expected}")


@cache
def _on_device(schedule: Callable[[], NoiseSchedule], device: torch.device) -> NoiseSchedule:
    return schedule().to(device)


def _ddpm_loss(
    backbone: Backbone, latents: Tensor, timesteps: Tensor, noise: Tensor, conditioning: Conditioning
) -> LossTerms:
    schedule = _on_device(NoiseSchedule.linear, latents.device)
    steps = timesteps.long()
    noisy = schedule.add_noise(latents, noise, steps)
    prediction = backbone(noisy, timesteps, conditioning).float()
    check_prediction(prediction, latents, learned_variance=True)
    predicted_noise, variance_weights = prediction.chunk(2, dim=1)
    return LossTerms(
        mse=_mean_per_sample((noise - predicted_noise) ** 2),
        # The bound trains the variance alone: the noise gets its gradient from the squared error.
        vb=_variational_bound(schedule, latents, noisy, predicted_noise.detach(), variance_weights, steps),
    )


def _x0_loss(
    backbone: Backbone, latents: Tensor, timesteps: Tensor, noise: Tensor, conditioning: Conditioning
) -> LossTerms:
    noisy = _on_device(NoiseSchedule.cosine, latents.device).add_noise(latents, noise, timesteps.long())
    prediction = backbone(noisy, timesteps, conditioning).float()
    check_prediction(prediction, latents, learned_variance=False)
    return LossTerms(mse=_mean_per_sample((latents - prediction) ** 2), vb=None)


def _flow_loss(
    backbone: Backbone, latents: Tensor, timesteps: Tensor, noise: Tensor, conditioning: Conditioning
) -> LossTerms:
    share = (timesteps.float() / NUM_TIMESTEPS).reshape(-1, 1, 1, 1, 1)
    prediction = backbone((1 - share) * latents + share * noise, timesteps, conditioning).float()
    check_prediction(prediction, latents, learned_variance=False)
    return LossTerms(mse=_mean_per_sample((noise - latents - prediction) ** 2), vb=None)


def _variational_bound(
    schedule: NoiseSchedule, clean: Tensor, noisy: Tensor, predicted_noise: Tensor, weights: Tensor, steps: Tensor
) -> Tensor:
    """One term of the variational bound (DDPM, equation 5) in bits per element: (B,)."""
    true_mean = schedule.posterior_mean(clean, noisy, steps)
    true_log_variance = schedule.interpolated_log_variance(torch.full_like(weights, -1), steps)
    predicted_clean = schedule.clean_from_noise(noisy, predicted_noise, steps)
    mean = schedule.posterior_mean(predicted_clean, noisy, steps)
    log_variance = schedule.interpolated_log_variance(weights, steps)
    divergence = _mean_per_sample(_normal_kl(true_mean, true_log_variance, mean, log_variance))
    reconstruction = _mean_per_sample(_discretized_gaussian_nll(clean, mean, log_variance))
    return torch.where(steps == 0, reconstruction, divergence) / math.log(2)


def _normal_kl(mean_p: Tensor, log_variance_p: Tensor, mean_q: Tensor, log_variance_q: Tensor) -> Tensor:
    """KL(p || q) of two diagonal Gaussians, elementwise, in nats."""
    ratio = log_variance_p - log_variance_q
    return 0.5 * (ratio.exp() - ratio - 1 + (mean_p - mean_q) ** 2 * (-log_variance_q).exp())


def _discretized_gaussian_nll(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log of the probability of the bin of width 2/255 around x (DDPM, equation 13), in nats.

    The bins are those of 8-bit images in [-1, 1]; Latte keeps them although its x are latents. The outermost bins
    reach to infinity. The clamp and the approximate normal distribution are those of the authors' code.
    """
    inverse_deviation = (-0.5 * log_variance).exp()
    upper = _normal_cdf(inverse_deviation * (x - mean + 1 / 255))
    lower = _normal_cdf(inverse_deviation * (x - mean - 1 / 255))
    probability = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return -probability.clamp(min=1e-12).log()


def _normal_cdf(x: Tensor) -> Tensor:
    """The standard normal distribution by the tanh approximation that GELU is known for (arXiv 1606.08415)."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _mean_per_sample(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def _uniform_integers(batch_size: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    source = device if generator is None else generator.device
    return torch.randint(NUM_TIMESTEPS, (batch_size,), generator=generator, device=source).to(device)


def _uniform_reals(batch_size: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    source = device if generator is None else generator.device
    return torch.rand(batch_size, generator=generator, device=source).to(device) * NUM_TIMESTEPS


def _logit_normal_reals(batch_size: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    source = device if generator is None else generator.device
    return torch.randn(batch_size, generator=generator, device=source).sigmoid().to(device) * NUM_TIMESTEPS


def _shifted(timesteps: Tensor, shift: float) -> Tensor:
    """Move timesteps in [0, 1000) towards 1000 (arXiv 2403.03206, equation 23); rounding does not take them there."""
    moved = shift * timesteps / (1 + (shift - 1) * timesteps / NUM_TIMESTEPS)
    return moved.clamp(max=NUM_TIMESTEPS * (1 - 2**-24))  # the largest that is drawn


OBJECTIVES = {
    "ddpm": Objective(
        _ddpm_loss,
        {"uniform": _uniform_integers},
        learned_variance=True,
        whole_timesteps=True,
        schedule=NoiseSchedule.linear,
    ),
    "x0": Objective(
        _x0_loss,
        {"uniform": _uniform_integers},
        learned_variance=False,
        whole_timesteps=True,
        schedule=NoiseSchedule.cosine,
    ),
    "flow": Objective(
        _flow_loss,
        {"uniform": _uniform_reals, "logit_normal": _logit_normal_reals},
        learned_variance=False,
        whole_timesteps=False,
    ),
}
