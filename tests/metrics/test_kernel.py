from __future__ import annotations

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray
from stbench.metrics.intervals import deal, jackknife
from stbench.metrics.kernel import (
    JEDI,
    KVD,
    MIN_CLIPS_FOR_KERNEL,
    PolynomialKernel,
    biased_mmd,
    kernel_distance,
    unbiased_mmd,
)

FORMULAS = [(KVD, 3, 1, 1), (JEDI, 2, 0, 100)]  # kernel, degree, constant, factor on the squared MMD


def _brute_force(a: FloatArray, b: FloatArray, degree: int, coef0: float, with_diagonal: bool) -> float:
    def kernel(x: FloatArray, y: FloatArray) -> float:
        return float((x @ y / len(x) + coef0) ** degree)

    def within(x: FloatArray) -> float:
        pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if with_diagonal or i != j]
        return sum(kernel(x[i], x[j]) for i, j in pairs) / len(pairs)

    between = sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))
    return within(a) + within(b) - 2 * between


@pytest.mark.parametrize(("kernel", "degree", "coef0", "scale"), FORMULAS)
def test_equals_the_definition_pair_by_pair(kernel: PolynomialKernel, degree: int, coef0: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((9, 4)), rng.standard_normal((13, 4)) + 0.5
    assert unbiased_mmd(a, b, kernel) == pytest.approx(scale * _brute_force(a, b, degree, coef0, False), rel=1e-12)
    assert biased_mmd(a, b, kernel) == pytest.approx(scale * _brute_force(a, b, degree, coef0, True), rel=1e-12)


def test_the_biased_estimate_is_that_of_the_released_code() -> None:
    """270.7 stands beside the example at the end of JEDi's mmd_polynomial.py; its caller multiplies by 100."""
    a = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    b = [[7, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]]
    assert biased_mmd(a, b, JEDI) / 100 == pytest.approx(270.7, abs=0.05)


def test_the_kernel_of_jedi_compares_second_moments() -> None:
    """With k = (x·y / D)² the squared MMD is the squared distance of the matrices E[x xᵀ], over D²."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((50, 6)), rng.standard_normal((70, 6)) @ rng.standard_normal((6, 6))
    difference = a.T @ a / len(a) - b.T @ b / len(b)
    assert biased_mmd(a, b) == pytest.approx(100 * np.square(difference).sum() / 36, rel=1e-10)
    assert biased_mmd(a, -a) == pytest.approx(0, abs=1e-10)  # a mean of the other sign is not seen


def test_the_biased_estimate_falls_with_the_number_of_samples_and_the_unbiased_one_does_not() -> None:
    rng = np.random.default_rng(6)
    few, many = ([rng.standard_normal((2, n, 8)) for _ in range(200)] for n in (32, 128))
    biased = [np.mean([biased_mmd(a, b) for a, b in pairs]) for pairs in (few, many)]
    unbiased = [np.mean([unbiased_mmd(a, b, JEDI) for a, b in pairs]) for pairs in (few, many)]
    assert biased[0] / biased[1] == pytest.approx(4, rel=0.2)
    assert np.abs(unbiased).max() < biased[1] / 4


def test_strips_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((50, 4)), rng.standard_normal((40, 4))
    whole = unbiased_mmd(a, b)
    monkeypatch.setattr("stbench.metrics.kernel._ROWS_AT_ONCE", 7)
    assert unbiased_mmd(a, b) == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("n", [16, 64])
def test_is_unbiased_where_frechet_is_not(n: int) -> None:
    rng = np.random.default_rng(1)
    estimates = [unbiased_mmd(rng.standard_normal((n, 32)), rng.standard_normal((n, 32))) for _ in range(300)]
    standard_error = np.std(estimates, ddof=1) / len(estimates) ** 0.5
    assert abs(np.mean(estimates)) < 4 * standard_error
    assert min(estimates) < 0 < max(estimates)


def test_interval_covers_zero_for_equal_and_not_for_shifted_distributions() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((400, 8)), rng.standard_normal((400, 8))
    same, shifted = kernel_distance(a, b), kernel_distance(a, b + 0.5)
    assert same.interval[0] < 0 < same.interval[1]
    assert 0 < shifted.interval[0] < shifted.distance < shifted.interval[1]


@pytest.mark.parametrize(("kernel", "degree", "coef0", "scale"), FORMULAS)
def test_the_interval_is_the_jackknife_of_the_whole_estimate(
    kernel: PolynomialKernel, degree: int, coef0: float, scale: float
) -> None:
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((23, 4)), rng.standard_normal((31, 4)) + 0.5
    groups = np.random.default_rng(5)
    left = [
        scale * _brute_force(np.delete(a, in_a, axis=0), np.delete(b, in_b, axis=0), degree, coef0, False)
        for in_a, in_b in zip(deal(23, 10, groups), deal(31, 10, groups), strict=True)
    ]
    expected = jackknife(scale * _brute_force(a, b, degree, coef0, False), left)
    found = kernel_distance(a, b, kernel, seed=5)
    assert (*found.interval, found.distance) == pytest.approx((*expected.interval, expected.distance), rel=1e-9)


@pytest.mark.parametrize("kernel", [KVD, JEDI])
@pytest.mark.parametrize(("shift", "widest"), [(0.0, 3.7), (0.1, 3.7), (0.5, 2.8)])
def test_the_interval_is_as_wide_as_draws_are_apart(kernel: PolynomialKernel, shift: float, widest: float) -> None:
    """Half of a 95 % interval by 10 groups is 2.26 standard deviations; near equal distributions 1.4 times as much."""
    rng = np.random.default_rng(8)
    found = [kernel_distance(*_shifted(rng, 100, 16, shift), kernel) for _ in range(120)]
    distances = [each.distance for each in found]
    half_widths = [(each.interval[1] - each.interval[0]) / 2 for each in found]
    assert 1.8 < np.mean(half_widths) / np.std(distances) < widest
    covered = [each.interval[0] <= np.mean(distances) <= each.interval[1] for each in found]
    assert np.mean(covered) >= 0.9


def _shifted(rng: np.random.Generator, n: int, d: int, shift: float) -> tuple[FloatArray, FloatArray]:
    return rng.standard_normal((n, d)), rng.standard_normal((n, d)) + shift


def test_is_symmetric_repeatable_and_leaves_its_inputs_alone() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((50, 8)), rng.standard_normal((70, 8))
    before = a.copy()
    assert kernel_distance(a, b) == kernel_distance(a, b)
    assert kernel_distance(a, b).distance == pytest.approx(kernel_distance(b, a[::-1]).distance, rel=1e-10)
    assert np.array_equal(a, before)


def test_too_few_samples_are_refused() -> None:
    rng = np.random.default_rng(4)
    enough = rng.standard_normal((MIN_CLIPS_FOR_KERNEL, 3))
    assert kernel_distance(enough, enough).standard_error > 0
    with pytest.raises(
        StbenchError, match=f"at least {MIN_CLIPS_FOR_KERNEL} clips on each side, got {MIN_CLIPS_FOR_KERNEL - 1}"
    ):
        kernel_distance(enough, enough[:-1])
