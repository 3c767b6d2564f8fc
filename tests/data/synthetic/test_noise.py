"""Random numbers are the published generator's, and noise moves, repeats and blurs as its formula says."""

from __future__ import annotations

import numpy as np
import pytest

from stbench.data.synthetic.noise import fractal_noise, pixel_centres, smoothstep, uniform

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def scramble(word: int) -> int:
    """splitmix64's finaliser on Python's integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def test_finaliser_gives_the_published_sequence() -> None:
    # The first outputs of splitmix64 from seed 1234567, as listed with the reference implementation (Vigna).
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [scramble((1234567 + step * GOLDEN) & MASK) for step in (1, 2, 3)] == published


@pytest.mark.parametrize(("seed", "index", "stream"), [(0, 0, 0), (7, 123, 3), (-1, 9999, 16)])
def test_uniform_is_splitmix64(seed: int, index: int, stream: int) -> None:
    key = ((seed * 2**16 + stream) * GOLDEN) & MASK
    key = scramble((scramble(key) + index * GOLDEN) & MASK)
    expected = [(scramble((key + counter * GOLDEN) & MASK) >> 40) / 2**24 for counter in range(1, 7)]
    drawn = uniform(seed, np.array([index]), stream, (2, 3))
    assert drawn.dtype == np.float32
    assert drawn.reshape(-1).tolist() == expected


def test_uniform_does_not_depend_on_the_rest_of_the_batch() -> None:
    together = uniform(5, np.arange(10), 2, (4,))
    assert np.array_equal(together[[7]], uniform(5, np.array([7]), 2, (4,)))


def test_uniform_is_uniform() -> None:
    drawn = uniform(0, np.arange(1000), 0, (100,))
    # Mean 1/2 and variance 1/12, within 5 standard errors of 100000 draws.
    assert drawn.mean() == pytest.approx(0.5, abs=5 * (1 / 12 / 1e5) ** 0.5)
    assert drawn.var() == pytest.approx(1 / 12, abs=5 * (1 / 180 / 1e5) ** 0.5)
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 5 / 1000**0.5


def test_streams_and_seeds_differ() -> None:
    videos = np.arange(3)
    drawn = [uniform(seed, videos, stream, (8,)).tobytes() for seed in (0, 1) for stream in (0, 1)]
    assert len(set(drawn)) == 4


def test_pixel_centres_of_a_row() -> None:
    assert pixel_centres(4).tolist() == [0.125, 0.375, 0.625, 0.875]


def test_smoothstep_at_known_points() -> None:
    assert smoothstep(np.array([-1, 0, 0.25, 0.5, 1, 2], dtype=np.float32)).tolist() == [0, 0, 0.15625, 0.5, 1, 1]


def drifting(image_size: int, x: float, y: float = 0.0, octaves: int = 4) -> np.ndarray:
    still = np.zeros((octaves, 2, 1), dtype=np.float32)
    return fractal_noise(3, np.array([4, 9]), image_size, still + np.float32(x), still + np.float32(y))


def test_noise_moves_as_one_piece() -> None:
    # A quarter of a width is 16 of 64 pixels.
    assert np.allclose(drifting(64, 0.25)[..., 16:], drifting(64, 0)[..., :-16], atol=1e-5)
    assert np.allclose(drifting(64, 0, 0.25)[..., 16:, :], drifting(64, 0)[..., :-16, :], atol=1e-5)


def test_noise_repeats_after_two_widths() -> None:
    assert np.allclose(drifting(32, 2.0, -2.0), drifting(32, 0), atol=1e-5)
    assert not np.allclose(drifting(32, 1.0), drifting(32, 0), atol=0.1)


def test_noise_at_a_lower_resolution_is_the_same_but_blurred() -> None:
    fine = drifting(64, 0.1)
    blurred = fine.reshape(2, 1, 16, 4, 16, 4).mean(axis=(3, 5))
    assert np.abs(blurred - drifting(16, 0.1)).max() < 0.08
    assert fine.std() > 0.1


def test_noise_stays_in_the_unit_interval() -> None:
    noise = drifting(32, 0.3, octaves=6)
    assert noise.dtype == np.float32
    assert noise.min() >= 0
    assert noise.max() <= 1
