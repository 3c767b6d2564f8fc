"""Statistics against values worked out by hand or by an independent formula."""

from __future__ import annotations

import math

import pytest

from stbench.records.statistics import (
    beyond_factor,
    differs,
    means_differ,
    median,
    spread,
    summarise_seeds,
    under_load,
    waiting,
)


def test_median_and_spread() -> None:
    samples = [1.0, 2.0, 3.0, 4.0, 100.0]
    assert median(samples) == 3
    assert spread(samples) == 2  # quartiles 2 and 4


@pytest.mark.parametrize(("a", "b", "expected"), [(1.0, 1.1, False), (1.0, 1.2, True), (1.2, 1.0, True)])
def test_beyond_factor_is_symmetric(a: float, b: float, expected: bool) -> None:
    assert beyond_factor(a, b, 1.1) is expected


def test_differs_needs_both_factor_and_noise() -> None:
    quiet = [1.0 + 0.001 * i for i in range(20)]
    assert differs(quiet, [1.3 * x for x in quiet])
    assert differs([1.3 * x for x in quiet], quiet)
    assert not differs(quiet, [1.05 * x for x in quiet])  # beyond noise, within the factor
    assert not differs([1.0, 5.0, 1.1], [1.3, 0.9, 6.0])  # beyond the factor, within noise
    assert not differs([1.0, 1.1, 1.2], [2.0, 2.1, 2.2])  # three samples a side cannot reach p < 0.05


def test_t_interval_of_three_seeds() -> None:
    summary = summarise_seeds([1.0, 2.0, 3.0])
    # t(0.975, 2 degrees of freedom) = 4.302653 in any table of Student's t.
    half = 4.302653 * 1 / math.sqrt(3)
    assert (summary.mean, summary.sd, summary.n) == (2, 1, 3)
    assert summary.low == pytest.approx(2 - half, rel=1e-6)
    assert summary.high == pytest.approx(2 + half, rel=1e-6)


def test_one_seed_has_no_interval() -> None:
    summary = summarise_seeds([5.0])
    assert (summary.mean, summary.n, summary.sd, summary.low, summary.high) == (5, 1, None, None, None)


def test_means_differ() -> None:
    assert means_differ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9])
    assert not means_differ([1.0, 2.0, 3.0], [1.5, 2.5, 3.5])
    assert means_differ([1.0, 1.0], [2.0, 2.0])
    assert not means_differ([1.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize(("waited_share", "expected"), [(None, False), (0.0, False), (0.05, False), (0.06, True)])
def test_under_load(waited_share: float | None, expected: bool) -> None:
    assert under_load(waited_share) is expected


def test_waiting_in_words() -> None:
    assert waiting(0.36) == "threads stood 36% of their time waiting for a processor"
