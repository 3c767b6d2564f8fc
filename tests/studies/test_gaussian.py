"""The check on exact Gaussians: closed forms of the bias, the bootstrap's doubling, and the kernel's diagonals."""

from __future__ import annotations

import numpy as np
import pytest

from stbench.metrics.kernel import KVD, biased_mmd
from stbench.studies import gaussian
from stbench.studies.gaussian import bootstrap, check_on_gaussians, kernel_statistics, standard_normal

DIM = 6


def test_samples_are_standard_and_depend_on_seed_size_and_repeat() -> None:
    a, b = standard_normal(DIM, seed=0)(4000, 0)
    assert a.shape == b.shape == (4000, DIM)
    np.testing.assert_allclose(np.cov(np.concatenate([a, b]), rowvar=False), np.eye(DIM), atol=0.06)
    np.testing.assert_allclose(np.concatenate([a, b]).mean(axis=0), 0, atol=0.06)
    assert np.array_equal(standard_normal(DIM, seed=0)(4000, 0)[0], a)
    for other in (standard_normal(DIM, seed=1)(4000, 0), standard_normal(DIM, seed=0)(4000, 1)):
        assert not np.array_equal(other[0], a)


def test_the_whole_check_holds_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "SIZES", (64, 512))
    monkeypatch.setattr(gaussian, "REPEATS", 8)
    monkeypatch.setattr(gaussian, "BOOTSTRAP_SIZE", 256)
    check = check_on_gaussians(DIM, seed=0)
    expected = (DIM**2 + 5 * DIM) / 2
    assert check["dim"] == DIM
    assert check["expected_n_times_fvd"] == pytest.approx(expected)
    assert check["by_size"][-1]["n_times_fvd"] == pytest.approx(expected, rel=0.2)
    assert [row["n"] for row in check["kernel"]] == list(gaussian.KERNEL_SIZES)


def test_the_bootstrap_doubles_the_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "BOOTSTRAP_SIZE", 512)
    found = bootstrap(standard_normal(DIM, seed=0), seed=0)
    assert found["n"] == 512
    # Resampling adds the bias of a second draw to that of the pair itself.
    assert found["mean"] / found["point"] == pytest.approx(2, rel=0.35)
    assert found["replicates_mean"] * 512 == pytest.approx((DIM**2 + 5 * DIM) / 2, rel=0.25)
    assert min(found["sd"], found["replicates_sd"]) > 0


def test_the_diagonals_cost_what_the_closed_form_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "KERNEL_SIZES", (64, 256))
    rows = kernel_statistics(standard_normal(DIM, seed=0), DIM)
    for row in rows:
        assert row["expected_biased"] == pytest.approx(2 * (7 + 9 / DIM + 8 / DIM**2) / row["n"])
        assert row["biased"] == pytest.approx(row["expected_biased"], rel=0.4)
        assert abs(row["unbiased"]) < row["biased"] / 2
    pairs = [standard_normal(DIM, seed=0)(64, repeat) for repeat in range(gaussian.KERNEL_REPEATS)]
    assert rows[0]["biased"] == pytest.approx(np.mean([biased_mmd(a, b, KVD) for a, b in pairs]))
