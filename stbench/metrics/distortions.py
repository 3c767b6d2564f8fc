"""The eight distortions on which FVD was first tested: four of single frames, four of the order of frames.

Unterthiner et al. 2018 (arXiv 1812.01717), noise study. A distance between videos must rise with each of them. All
take clips (N, 3, F, H, W) in [-1, 1], a `strength` in [0, 1] where 0 leaves the clips as they are, and a generator on
the clips' device; they return new clips of the same shape and range. The paper names the kinds of damage, not a common
scale; noise stops at one half here, since beyond it all clips become the same noise. `strength` s means:

| distortion | at strength s |
|---|---|
| gaussian_noise | (1 - s/2) x plus s/2 times standard normal noise, clamped to [-1, 1] |
| blur | Gaussian kernel with a standard deviation of s H / 8 pixels |
| salt_and_pepper | each pixel black or white with probability s/2 |
| black_rectangles | one black rectangle per clip, as wide and high as s W and s H, at a random place |
| local_swap | round(s F) times, a random frame trades places with the next |
| global_swap | round(s F) times, two random frames trade places |
| interleave | round(s F / 2) frames, evenly spread, come from another clip; at 1 every other frame |
| switch | the last round(s F / 2) frames come from another clip |
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from stbench.errors import StbenchError

Distortion = Callable[[Tensor, float, Generator], Tensor]


def gaussian_noise(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Blend the clips with standard normal noise."""
    _check(clips, strength)
    noise = torch.randn(clips.shape, generator=generator, device=clips.device, dtype=clips.dtype)
    return torch.lerp(clips, noise, strength / 2).clamp(-1, 1)


def blur(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Smooth every frame with a Gaussian; frames are continued by their border pixels."""
    _check(clips, strength)
    sigma = strength * clips.shape[3] / 8
    if sigma == 0:
        return clips.clone()
    rows, columns = (_smoothing(length, sigma).to(clips) for length in clips.shape[3:])
    return rows @ clips @ columns.T


def salt_and_pepper(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Set pixels, all three channels at once, to black or white."""
    _check(clips, strength)
    N, _, F, H, W = clips.shape
    draws = torch.rand((2, N, 1, F, H, W), generator=generator, device=clips.device)
    black_or_white = torch.where(draws[1] < 0.5, -1.0, 1.0).to(clips.dtype)
    return torch.where(draws[0] < strength / 2, black_or_white, clips)


def black_rectangles(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Cover the same rectangle of every frame of a clip with black."""
    _check(clips, strength)
    N, _, _, H, W = clips.shape
    rows = _random_span(N, H, strength, generator, clips.device)
    columns = _random_span(N, W, strength, generator, clips.device)
    covered = rows[:, None, None, :, None] & columns[:, None, None, None, :]
    return clips.masked_fill(covered, -1.0)


def local_swap(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Swap randomly chosen frames with their neighbours, a new choice for every clip."""
    _check(clips, strength)
    N, F = clips.shape[0], clips.shape[2]
    first = torch.randint(0, F - 1, (round(strength * F), N), generator=generator, device=clips.device)
    return _swap_frames(clips, first, first + 1)


def global_swap(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Swap randomly chosen pairs of frames from anywhere in the clip, a new choice for every clip."""
    _check(clips, strength)
    N, F = clips.shape[0], clips.shape[2]
    num_swaps = round(strength * F)
    first = torch.randint(0, F, (num_swaps, N), generator=generator, device=clips.device)
    distance = torch.randint(1, F, (num_swaps, N), generator=generator, device=clips.device)
    return _swap_frames(clips, first, (first + distance) % F)


def interleave(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Put frames of another clip, each at its own time, between the frames of every clip."""
    _check(clips, strength)
    F = clips.shape[2]
    num_foreign = round(strength * F / 2)
    turn = (torch.arange(F + 1, device=clips.device) * num_foreign + F // 2) // F
    return _mix_clips(clips, turn[1:] > turn[:-1], generator)


def switch(clips: Tensor, strength: float, generator: Generator) -> Tensor:
    """Go over from one clip to another, the earlier the stronger."""
    _check(clips, strength)
    F = clips.shape[2]
    return _mix_clips(clips, torch.arange(F, device=clips.device) >= F - round(strength * F / 2), generator)


FRAME_DISTORTIONS: dict[str, Distortion] = {
    "gaussian_noise": gaussian_noise,
    "blur": blur,
    "salt_and_pepper": salt_and_pepper,
    "black_rectangles": black_rectangles,
}
ORDER_DISTORTIONS: dict[str, Distortion] = {
    "local_swap": local_swap,
    "global_swap": global_swap,
    "interleave": interleave,
    "switch": switch,
}
DISTORTIONS: dict[str, Distortion] = FRAME_DISTORTIONS | ORDER_DISTORTIONS


def _check(clips: Tensor, strength: float) -> None:
    if clips.ndim != 5:
        raise StbenchError(f"clips: expected (N, C, F, H, W), got shape {tuple(clips.shape)}")
    if not 0 <= strength <= 1:
        raise StbenchError(f"strength: expected a number from 0 to 1, got {strength}")


def _smoothing(length: int, sigma: float) -> Tensor:
    """Matrix (length, length) that smooths a line of pixels with a Gaussian, cut off at four standard deviations."""
    radius = math.ceil(4 * sigma)
    offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.softmax(-offset.square() / (2 * sigma**2), dim=0)
    pixel = torch.arange(length)
    source = (pixel[:, None] + offset.long()).clamp(0, length - 1)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add(1, source, weights.expand(length, -1))


def _random_span(N: int, length: int, fraction: float, generator: Generator, device: torch.device) -> Tensor:
    """Mask (N, length) with one run of round(fraction · length) true values in each row."""
    covered = round(fraction * length)
    start = torch.randint(0, length - covered + 1, (N, 1), generator=generator, device=device)
    position = torch.arange(length, device=device)
    return (position >= start) & (position < start + covered)


def _swap_frames(clips: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Let frames `first[k, n]` and `second[k, n]` of clip n trade places, one k after the other."""
    N, F = clips.shape[0], clips.shape[2]
    clip = torch.arange(N, device=clips.device)
    order = torch.arange(F, device=clips.device).repeat(N, 1)
    for i, j in zip(first, second, strict=True):
        order[clip, i], order[clip, j] = order[clip, j], order[clip, i]
    return clips.transpose(1, 2)[clip[:, None], order].transpose(1, 2).contiguous()


def _mix_clips(clips: Tensor, foreign: Tensor, generator: Generator) -> Tensor:
    """Replace the frames that the mask `foreign` (F,) marks by those of another clip of the batch."""
    N = clips.shape[0]
    if N < 2:
        raise StbenchError(f"clips: mixing clips needs at least 2, got {N}")
    ring = torch.randperm(N, generator=generator, device=clips.device)
    partner = torch.empty_like(ring)
    partner[ring] = ring.roll(1)
    return torch.where(foreign[:, None, None], clips[partner], clips)
