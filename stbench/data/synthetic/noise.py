"""Random numbers by counter, and fractal noise.

Random numbers come from a counter hash, splitmix64 (Steele, Lea and Flood, OOPSLA 2014, "Fast splittable pseudorandom
number generators"), so that the numbers of any video can be computed without those of the videos before it, and for
many videos at once. The noise is value noise (Ebert et al., "Texturing and Modeling", chapter 2) on lattices that wrap
round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]  # float32 throughout; mypy takes the product with a Python float for float64


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble every 64-bit word (the finaliser of splitmix64, variant 13 of Stafford's mixers)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def uniform(seed: int, indices: NDArray[np.int64], stream: int, shape: tuple[int, ...]) -> Floats:
    """Return float32 (B, *shape) uniform in [0,1): per video an array that depends on (seed, index, stream) only."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = np.full(1, (seed * 2**16 + stream) % 2**64, dtype=np.uint64)
    keys = _splitmix64(_splitmix64(key * golden) + indices.astype(np.uint64) * golden)
    counters = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * golden
    words = _splitmix64(keys[:, None] + counters)
    return ((words >> np.uint64(40)).astype(np.float32) * 2.0**-24).reshape(len(indices), *shape)


def pixel_centres(image_size: int) -> Floats:
    """Return the unit coordinate of every pixel of a row: (i + 0.5) / image_size."""
    return (np.arange(image_size, dtype=np.float32) + 0.5) / image_size


def smoothstep(value: Floats) -> Floats:
    """Return 3v^2 - 2v^3 of `value` clamped to [0,1]."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def _interpolation(positions: Floats, num_nodes: int) -> Floats:
    """Return weights (..., positions, num_nodes): each position between its two nodes of a lattice that wraps round."""
    cell = np.floor(positions)
    blend = smoothstep(positions - cell)[..., None]
    nodes = np.arange(num_nodes)
    low = (cell[..., None] % num_nodes) == nodes
    high = ((cell[..., None] + 1) % num_nodes) == nodes
    return low * (1 - blend) + high * blend


def fractal_noise(seed: int, videos: NDArray[np.int64], image_size: int, drift_x: Floats, drift_y: Floats) -> Floats:
    """Return value noise of several octaves, float32 (B,F,H,W) in [0,1].

    Octave o has 2^(o+1) cells to the width of a frame and repeats after two widths. Octaves finer than two pixels a
    cell are left out: at a low resolution they would only flicker.

    Args:
        seed: the dataset's seed.
        videos: indices of the videos, (B,).
        image_size: height and width, in pixels.
        drift_x: how far the noise has moved, in widths, (octaves,B,F).
        drift_y: likewise in heights, (octaves,B,F).
    """
    coordinates = pixel_centres(image_size)
    total = np.zeros((*drift_x.shape[1:], image_size, image_size), dtype=np.float32)
    amplitudes = np.float32(0.5) ** np.arange(1, len(drift_x) + 1, dtype=np.float32)
    for octave, amplitude in enumerate(amplitudes):
        cells = 2 ** (octave + 1)
        if cells > image_size // 2:
            total += amplitude / 2
            continue
        lattice = uniform(seed, videos, stream=1 + octave, shape=(1, 2 * cells, 2 * cells)) * amplitude
        rows = _interpolation((coordinates - drift_y[octave, ..., None]) * cells, 2 * cells)
        columns = _interpolation((coordinates - drift_x[octave, ..., None]) * cells, 2 * cells)
        total += rows @ lattice @ np.swapaxes(columns, -1, -2)
    return total / amplitudes.sum()
