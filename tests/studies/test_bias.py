"""Bias against the number of samples: closed forms, and figures measured elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from stbench.metrics.frechet import frechet_distance
from stbench.metrics.intervals import frechet_jackknife
from stbench.studies import bias, gaussian
from stbench.studies.bias import effective_dim, gaussian_bias, halves_of, infinity_real_fixed, log_grid, measure_bias


@pytest.mark.parametrize(
    ("largest", "sizes"), [(16, [16]), (17, [16, 17]), (64, [16, 32, 64]), (100, [16, 32, 64, 100])]
)
def test_grid_doubles_and_ends_at_the_largest(largest: int, sizes: list[int]) -> None:
    assert log_grid(largest) == sizes


@pytest.mark.parametrize("d", [1, 7, 400])
def test_bias_of_standard_gaussians(d: int) -> None:
    assert gaussian_bias(np.eye(d)) == pytest.approx((d**2 + 5 * d) / 2)
    assert gaussian_bias(9 * np.eye(d)) == pytest.approx(9 * (d**2 + 5 * d) / 2)


def test_directions_without_spread_add_nothing() -> None:
    assert gaussian_bias(np.diag([4.0, 1.0, 0.0])) == pytest.approx(gaussian_bias(np.diag([4.0, 1.0])))
    assert effective_dim(np.diag([1.0, 1.0, 1.0, 0.0])) == pytest.approx(3)
    assert effective_dim(np.diag([3.0, 1.0])) == pytest.approx(16 / 10)


def test_the_closed_form_is_what_unequal_gaussians_show() -> None:
    """Monte Carlo: the mean over pairs agrees within its own noise."""
    eigenvalues, N = np.array([9.0, 4.0, 1.0, 0.25]), 400
    rng = np.random.default_rng(1)
    distances = [frechet_distance(*(rng.standard_normal((2, N, 4)) * np.sqrt(eigenvalues))) for _ in range(400)]
    standard_error = N * np.std(distances) / 20
    assert N * np.mean(distances) == pytest.approx(gaussian_bias(np.diag(eigenvalues)), abs=4 * standard_error)
    assert standard_error < 0.05 * gaussian_bias(np.diag(eigenvalues))


def test_halves_are_disjoint_and_a_function_of_the_seed() -> None:
    pool = np.arange(40.0)[:, None]
    a, b = halves_of(pool, 3)(20, 0)
    assert sorted(np.concatenate([a, b]).ravel()) == list(range(40))
    assert np.array_equal(halves_of(pool, 3)(20, 0)[0], a)
    assert not np.array_equal(halves_of(pool, 3)(20, 1)[0], a)
    assert not np.array_equal(halves_of(pool, 4)(20, 0)[0], a)


def test_figures_by_size() -> None:
    draw, expected = gaussian.standard_normal(30, 0), gaussian_bias(np.eye(30))
    measured = measure_bias(draw, [64, 512], 4, expected, "test")
    assert [row["n"] for row in measured["rows"]] == [64] * 4 + [512] * 4
    small, large = measured["by_size"]
    assert small["fvd_inf"] is None
    assert small["fvd_inf_sd"] is None
    assert small["fvd"] > small["fvd_sd"] > 0
    assert large["n_times_fvd"] == pytest.approx(expected, rel=0.1)
    assert abs(large["fvd_inf"]) < 0.3 * large["fvd"]
    assert abs(large["kvd"]) < 0.02
    row = measured["rows"][-1]
    a, b = draw(512, 3)
    assert row["fvd"] == frechet_distance(a, b)
    assert row["fvd_inf"] == frechet_jackknife(a, b, seed=3).at_infinity


def test_rows_and_sizes_have_the_columns_of_the_tables() -> None:
    measured = measure_bias(gaussian.standard_normal(3, 0), [8, 16], 2, 1.0, "test")
    columns = ["n", "repeat", "fvd", "n_times_fvd", "fvd_inf", "fvd_inf_real_fixed", "kvd"]
    assert all(list(row) == columns for row in measured["rows"])
    assert [row["fvd_inf"] is None for row in measured["rows"]] == [True, True, False, False]
    figures = ["n_times_fvd", "fvd", "fvd_inf", "fvd_inf_real_fixed", "kvd"]
    assert all(
        list(row) == ["n", *(f"{each}{end}" for each in figures for end in ("", "_sd"))] for row in measured["by_size"]
    )


def test_a_single_repeat_has_no_spread() -> None:
    (row,) = measure_bias(gaussian.standard_normal(3, 0), [16], 1, 1.0, "test")["by_size"]
    assert row["fvd"] == frechet_distance(*gaussian.standard_normal(3, 0)(16, 0))
    assert {row[name] for name in row if name.endswith("_sd")} == {None}


def test_a_fixed_side_keeps_half_of_the_bias() -> None:
    """Half of the bias c / N belongs to each side; with one whole, its c / 2N is in every distance."""
    d, N = 60, 1500
    pairs = [np.random.default_rng(seed).standard_normal((2, N, d)) for seed in range(12)]
    left = [infinity_real_fixed(a, b, seed) for seed, (a, b) in enumerate(pairs)]
    assert np.mean(left) == pytest.approx(gaussian_bias(np.eye(d)) / (2 * N), rel=0.1)


@pytest.mark.parametrize(
    ("means", "sd", "settled_from"),
    [
        ([50.0, 90.0, 99.0, 100.0], 0.0, 64),
        ([50.0, 96.0, 94.0, 100.0], 0.0, 128),  # within, then outside again
        ([50.0, 90.0, 99.0, 100.0], 10.0, 32),  # two standard errors of four repeats are 14
        ([100.0, 100.0, 100.0, 100.0], 0.0, 16),
    ],
)
def test_where_n_times_fvd_settles(means: list[float], sd: float, settled_from: int) -> None:
    rows = [{"n": n, "n_times_fvd": m, "n_times_fvd_sd": sd} for n, m in zip((16, 32, 64, 128), means, strict=True)]
    assert bias._settled_from(rows, 4) == settled_from


@pytest.mark.parametrize(
    ("n", "fvd"),
    [(64, 555), (128, 436), (256, 299), (512, 158), (1024, 78.5)],  # measured apart from this code, one pair each
)
def test_table_of_400_dimensions(n: int, fvd: float) -> None:
    assert frechet_distance(*gaussian.standard_normal(400, 0)(n, 0)) == pytest.approx(fvd, rel=0.03)


def test_bootstrap_doubles_the_bias_and_the_v_statistic_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "BOOTSTRAP_SIZE", 500)
    draw = gaussian.standard_normal(40, 0)
    found = gaussian.bootstrap(draw, 0)
    expected = gaussian_bias(np.eye(40)) / 500
    assert found["point"] == frechet_distance(*draw(500, 0))
    assert found["replicates_mean"] == pytest.approx(expected, rel=0.1)
    assert found["mean"] == pytest.approx(2 * expected, rel=0.15)

    monkeypatch.setattr(gaussian, "KERNEL_SIZES", (100, 400))
    for row in gaussian.kernel_statistics(draw, 40):
        assert row["biased"] == pytest.approx(row["expected_biased"], rel=0.2)
        assert abs(row["unbiased"]) < row["expected_biased"] / 3
