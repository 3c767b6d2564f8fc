"""PSNR and SSIM of made frames, by their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stbench.metrics.fidelity import LEAST_ERROR, FidelityTally


def clips(level: int, size: int = 16) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Two clips of four frames, of one colour."""
    return np.full((2, 4, size, size, 3), level, np.uint8)


def test_an_error_of_so_many_levels_has_its_psnr() -> None:
    tally = FidelityTally([1, 2])
    tally.add(clips(110), clips(100))
    found = tally.scores()
    assert found and found.n_frames == 4
    assert found.psnr_db == pytest.approx(20 * math.log10(255 / 10))
    # Of constant frames SSIM is the luminance term, (2 a b + c) / (a^2 + b^2 + c) with c = (0.01 * 255)^2.
    c = 2.55**2
    assert found.ssim == pytest.approx((2 * 110 * 100 + c) / (110**2 + 100**2 + c), rel=1e-5)


def test_only_frames_that_were_made_count() -> None:
    made, tally = clips(100), FidelityTally([1, 2])
    made[:, [0, 3]] = 0
    tally.add(made, clips(100))
    found = tally.scores()
    assert found and found.psnr_db == pytest.approx(10 * math.log10(255**2 / LEAST_ERROR))
    assert found.ssim == pytest.approx(1)


def test_frames_smaller_than_the_window_have_no_ssim() -> None:
    tally = FidelityTally([0])
    tally.add(clips(1, size=8), clips(2, size=8))
    found = tally.scores()
    assert found and found.ssim is None
    assert FidelityTally([0]).scores() is None
