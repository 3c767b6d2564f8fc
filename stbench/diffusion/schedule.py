"""The noise schedules of Latte (arXiv 2401.03048) and of priors, and their shortened forms for sampling.

The Gaussian diffusion of DDPM (arXiv 2006.11239) with its linear betas or the cosine of Improved DDPM (arXiv
2102.09672, section 3.2), the latter's variance interpolation (equation 15), and the strided schedules of its section 4.
Tables are kept in float64 and rounded to float32 only when they meet a tensor, as in the authors' code.

A `step` counts the steps of one schedule, 0 being the cleanest; a `timestep` is always on the scale [0, 1000) that the
backbone was trained on. The two are equal except in a respaced schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stbench.errors import StbenchError

NUM_TIMESTEPS = 1000
BETA_START, BETA_END = 1e-4, 0.02  # DDPM, section 4
COSINE_OFFSET, MOST_BETA = 0.008, 0.999  # Improved DDPM, section 3.2

Steps = Tensor | int
"""Steps of a schedule: (B,) integers, (B or 1, F) with one for each frame, or one integer for the whole batch."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, 1 - alpha_bar_t) and its posterior q(x_{t-1} | x_t, x_0).

    Attributes:
        betas: (S,) float64 variances added at each of the S steps.
        timestep_map: (S,) int64, the timestep that the backbone sees at each step.
    """

    betas: Tensor
    timestep_map: Tensor

    @classmethod
    def linear(cls) -> NoiseSchedule:
        """The schedule that Latte trains on: 1000 steps, betas equally spaced."""
        betas = torch.linspace(BETA_START, BETA_END, NUM_TIMESTEPS, dtype=torch.float64)
        return cls(betas, torch.arange(NUM_TIMESTEPS))

    @classmethod
    def cosine(cls) -> NoiseSchedule:
        """The schedule of Improved DDPM (equation 17): 1000 steps, alpha_bar a squared cosine of the step."""
        shares = torch.linspace(0, 1, NUM_TIMESTEPS + 1, dtype=torch.float64)
        levels = ((shares + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2).cos() ** 2
        return cls((1 - levels[1:] / levels[:-1]).clamp(max=MOST_BETA), torch.arange(NUM_TIMESTEPS))

    def respaced(self, spec: str) -> NoiseSchedule:
        """The schedule over a subset of the steps, with the same alpha_bar at those.

        Args:
            spec: "N" for N steps from first to last inclusive, or "ddimN" for N steps at a constant stride from 0.

        Raises:
            StbenchError: when the schedule cannot be cut into that many steps.
        """
        kept = torch.tensor(respaced_steps(spec), device=self.betas.device)
        alphas_cumprod = self.alphas_cumprod[kept]
        return NoiseSchedule(1 - alphas_cumprod / _previous(alphas_cumprod), self.timestep_map[kept])

    def to(self, device: torch.device) -> NoiseSchedule:
        """The same schedule with its tables on `device`, so that indexing them there costs no transfer."""
        return NoiseSchedule(self.betas.to(device), self.timestep_map.to(device))

    @property
    def num_steps(self) -> int:
        """How many steps the schedule has."""
        return len(self.betas)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """alpha_bar_t, the share of the signal's variance left at step t: (S,)."""
        return (1 - self.betas).cumprod(0)

    @cached_property
    def alphas_cumprod_previous(self) -> Tensor:
        """alpha_bar_{t-1}, 1 before the first step: (S,)."""
        return _previous(self.alphas_cumprod)

    @cached_property
    def posterior_variance(self) -> Tensor:
        """Variance beta tilde of the posterior, DDPM equation 7: (S,), 0 at step 0."""
        return self.betas * (1 - self.alphas_cumprod_previous) / (1 - self.alphas_cumprod)

    @cached_property
    def posterior_log_variance(self) -> Tensor:
        """log(beta tilde), where step 0, which has none, borrows the value of step 1: (S,)."""
        return torch.cat([self.posterior_variance[1:2], self.posterior_variance[1:]]).log()

    def add_noise(self, clean: Tensor, noise: Tensor, steps: Steps) -> Tensor:
        """Draw from q(x_t | x_0) with the given noise (DDPM, equation 4)."""
        return _at(self.alphas_cumprod.sqrt(), steps) * clean + _at((1 - self.alphas_cumprod).sqrt(), steps) * noise

    def clean_from_noise(self, noisy: Tensor, noise: Tensor, steps: Steps) -> Tensor:
        """Solve `add_noise` for x_0."""
        inverse = 1 / self.alphas_cumprod
        return _at(inverse.sqrt(), steps) * noisy - _at((inverse - 1).sqrt(), steps) * noise

    def noise_from_clean(self, noisy: Tensor, clean: Tensor, steps: Steps) -> Tensor:
        """Solve `add_noise` for the noise."""
        level = self.alphas_cumprod
        return (noisy - _at(level.sqrt(), steps) * clean) / _at((1 - level).sqrt(), steps)

    def posterior_mean(self, clean: Tensor, noisy: Tensor, steps: Steps) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0) (DDPM, equation 7)."""
        previous, remaining = self.alphas_cumprod_previous, 1 - self.alphas_cumprod
        clean_weight = self.betas * previous.sqrt() / remaining
        noisy_weight = (1 - previous) * (1 - self.betas).sqrt() / remaining
        return _at(clean_weight, steps) * clean + _at(noisy_weight, steps) * noisy

    def ddim_step(self, clean: Tensor, noise: Tensor, steps: Steps, eta: float, fresh: Tensor | None = None) -> Tensor:
        """One step of DDIM (arXiv 2010.02502), equation 12, with sigma of equation 16 scaled by eta.

        Args:
            clean: what the noisy latents are thought to have been.
            noise: what is thought to be in them.
            steps: which steps are taken.
            eta: share of fresh noise, 0 (none) to 1.
            fresh: that noise; none without eta.
        """
        level, previous = self.alphas_cumprod, self.alphas_cumprod_previous
        sigma = eta * ((1 - previous) / (1 - level) * (1 - level / previous)).sqrt()
        stepped = _at(previous.sqrt(), steps) * clean + _at((1 - previous - sigma**2).sqrt(), steps) * noise
        return stepped if fresh is None else stepped + _at(sigma, steps) * fresh

    def interpolated_log_variance(self, weights: Tensor, steps: Steps) -> Tensor:
        """Learned variance between its two bounds (Improved DDPM, equation 15).

        Args:
            weights: the backbone's output, -1 for beta tilde, 1 for beta; not limited to that range.
            steps: steps of the schedule.
        """
        share = (weights + 1) / 2
        return share * _at(self.betas.log(), steps) + (1 - share) * _at(self.posterior_log_variance, steps)


def respaced_steps(spec: str) -> list[int]:
    """Which of the 1000 timesteps the spec "N" or "ddimN" keeps, in rising order.

    Raises:
        StbenchError: for anything else, and for a number of steps that cannot be had.
    """
    digits = spec.removeprefix("ddim")
    if not digits.isdecimal() or not 2 <= int(digits) <= NUM_TIMESTEPS:
        # Of one step the authors' respacing keeps timestep 0 alone, and their samplers then fail on an empty table.
        raise StbenchError(f"sampling steps {spec!r}: expected 'N' or 'ddimN' with N from 2 to {NUM_TIMESTEPS}")
    count = int(digits)
    return _constant_stride(count) if spec.startswith("ddim") else _first_to_last(count)


def _first_to_last(count: int) -> list[int]:
    """Equally spaced, 0 and 999 included. The stride is added up, not multiplied: where the sum's rounding error
    tips a step to its neighbour, the authors' published samples were made with that neighbour.
    """
    stride = (NUM_TIMESTEPS - 1) / (count - 1)
    steps, position = [], 0.0
    for _ in range(count):
        steps.append(round(position))
        position += stride
    return steps


def _constant_stride(count: int) -> list[int]:
    """0, k, 2k, ... below 1000 for the smallest integer k that gives `count` steps."""
    stride = -(-NUM_TIMESTEPS // count)
    steps = list(range(0, NUM_TIMESTEPS, stride))
    if len(steps) != count:
        more = -(-NUM_TIMESTEPS // (stride - 1))
        raise StbenchError(
            f"sampling steps 'ddim{count}': no integer stride cuts {NUM_TIMESTEPS} timesteps into {count}; "
            f"nearest: 'ddim{len(steps)}' or 'ddim{more}'"
        )
    return steps


def _previous(alphas_cumprod: Tensor) -> Tensor:
    return torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])


def _at(table: Tensor, steps: Steps) -> Tensor:
    """Pick a table's float32 values at `steps`, shaped to be broadcast over (B,C,F,H,W)."""
    values = table[steps].float()
    return values[:, None, :, None, None] if values.ndim == 2 else values.reshape(-1, 1, 1, 1, 1)
