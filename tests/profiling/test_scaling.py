"""Exponents of known laws."""

from __future__ import annotations

import pytest

from stbench.errors import StbenchError
from stbench.profiling.scaling import Scale, fit_exponent, parse_scale


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_exponent_of_a_power_law(exponent: float) -> None:
    sizes = [8, 16, 32, 50]
    assert fit_exponent(sizes, [3 * size**exponent for size in sizes]) == pytest.approx(exponent, abs=1e-12)


def test_exponent_is_the_least_squares_slope() -> None:
    """Logarithms of 0, 1, 1 at 0, 1, 2, all times ln 2: slope 1/2."""
    assert fit_exponent([1, 2, 4], [1, 2, 2]) == pytest.approx(0.5)


def test_one_point_has_no_exponent() -> None:
    assert fit_exponent([8], [3.0]) is None


def test_scale_is_read_sorted() -> None:
    assert parse_scale("frames=32,8,16") == Scale("frames", (8, 16, 32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame=8,16", "unknown axis of --scale 'frame': did you mean 'frames'"),
        ("frames", "--scale frames: expected at least two different positive integers, e.g. frames=8,16,32"),
        ("frames=8", "at least two"),
        ("frames=8,8", "at least two"),
        ("frames=8,0", "at least two"),
        ("frames=8,x", "at least two"),
    ],
)
def test_wrong_scales_are_refused(text: str, message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        parse_scale(text)
    assert message in str(caught.value)
