"""Statistics against values worked out by hand or by an independent formula."""

from __future__ import annotations

import math

import pytest

from stbench.records.statistics import (
    beyond_factor,
    contrast,
    equal_to_rounding,
    holm,
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
    assert waiting(0.36) == "threads stood 36 % of their time waiting for a processor"


def test_contrast_is_welch_s_test_and_its_interval_as_a_ratio() -> None:
    found = contrast([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    half = 2.776445 * math.sqrt(2 / 3)  # t(0.975, 4 degrees of freedom)
    assert found.ratio_interval == pytest.approx(((5 - half) / 2, (5 + half) / 2), rel=1e-6)
    assert found.p == pytest.approx(0.021312, rel=1e-4)  # t = 3.674, from a table


@pytest.mark.parametrize(("new", "p", "ratio"), [(2.0, 1.0, 1.0), (3.0, 0.0, 1.5)])
def test_contrast_of_figures_without_noise(new: float, p: float, ratio: float) -> None:
    found = contrast([2.0, 2.0], [new, new])
    assert (found.p, found.ratio_interval) == (p, (ratio, ratio))


def test_what_is_not_positive_has_no_ratio() -> None:
    assert contrast([-1.0, 1.0], [3.0, 4.0]).ratio_interval is None


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # of R's p.adjust
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("b", "expected"), [(13.19785, True), (13.19771, True), (13.21, False), (-13.19785, False)])
def test_equal_to_rounding(b: float, expected: bool) -> None:
    assert equal_to_rounding(13.19785, b) is expected
