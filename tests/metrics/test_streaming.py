from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.frechet import gaussian_statistics
from stbench.metrics.streaming import FeatureStatistics

D = 12
# One of several processes: takes its share of the features, and writes what `compute` gives after the exchange.
WORKER = """
import sys, warnings
import numpy as np, torch
from stbench.metrics.streaming import FeatureStatistics

rank, folder, splits = int(sys.argv[1]), sys.argv[2], [int(size) for size in sys.argv[3].split(",")]
torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=len(splits))
metric = FeatureStatistics(feature_dim=12)
warnings.simplefilter("ignore")  # torchmetrics': a process without samples
for batch in torch.from_numpy(np.load(f"{folder}/features.npy")).split(splits)[rank].split(64):
    metric.update(batch)
total = metric.compute()
np.savez(f"{folder}/rank{rank}.npz", mean=total.mean, covariance=total.covariance, count=total.num_samples)
metric.update(torch.zeros(1, 12))  # after the exchange each process has its own samples again
assert metric.num_samples == splits[rank] + 1
torch.distributed.destroy_process_group()
"""


def _features(n: int = 300, mean: float = 10.0) -> Tensor:
    rng = np.random.default_rng(2)
    return torch.from_numpy(rng.standard_normal((n, D)) @ rng.standard_normal((D, D)) + mean)


def _stream(features: Tensor, batch_sizes: list[int]) -> FeatureStatistics:
    metric = FeatureStatistics(D)
    for batch in features.split(batch_sizes):
        metric.update(batch)
    return metric


@pytest.mark.parametrize("batch_sizes", [[300], [1, 299], [0, 150, 150], [100] * 3, [1] * 300])
def test_does_not_depend_on_the_batches(batch_sizes: list[int]) -> None:
    features = _features()
    streamed, whole = _stream(features, batch_sizes).compute(), gaussian_statistics(features)
    assert streamed.num_samples == 300
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(streamed.covariance, whole.covariance, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("mean", "tolerance"), [(1e4, 1e-11), (1e7, 1e-8)])
def test_keeps_the_digits_of_a_small_spread_around_a_large_mean(mean: float, tolerance: float) -> None:
    """Sums of squares would leave 16 - 2 log10(mean) of 16 digits: 8, and 2."""
    features = _features(mean=mean)
    streamed, whole = _stream(features, [50] * 6).compute(), gaussian_statistics(features)
    np.testing.assert_allclose(streamed.covariance, whole.covariance, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-14)


def test_keeps_as_much_of_ten_samples_as_of_a_thousand() -> None:
    few, many = _stream(_features(10), [10]), _stream(_features(1000), [10] * 100)
    assert {name: value.shape for name, value in few.metric_state.items()} == {
        name: value.shape for name, value in many.metric_state.items()
    }


def test_a_call_gives_the_batch_and_keeps_the_total() -> None:
    first, second = _features().split(150)
    metric = FeatureStatistics(D)
    metric(first)
    of_batch = metric(second)
    np.testing.assert_allclose(of_batch.covariance, gaussian_statistics(second).covariance, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(
        metric.compute().covariance, gaussian_statistics(_features()).covariance, rtol=1e-11, atol=1e-11
    )


def test_float32_features_are_summed_in_float64() -> None:
    metric = FeatureStatistics(feature_dim=1)
    metric.update(torch.tensor([[1e5], [1e5 + 1]]))
    assert metric.compute().covariance.tolist() == [[0.5]]


def test_bad_batches_are_refused_and_one_sample_has_no_covariance() -> None:
    metric = FeatureStatistics(feature_dim=2)
    with pytest.raises(StbenchError, match=r"expected \(samples, 2\), got shape \(4, 3\)"):
        metric.update(torch.zeros(4, 3))
    with pytest.raises(StbenchError, match="not finite"):
        metric.update(torch.tensor([[float("inf"), 0.0]]))
    metric.update(torch.zeros(1, 2))
    with pytest.raises(StbenchError, match="at least 2 samples, got 1"):
        metric.compute()


@pytest.mark.parametrize("splits", [(100, 200), (300, 0)])
def test_two_processes_give_what_one_gives(tmp_path: Path, splits: tuple[int, int]) -> None:
    features = _features(mean=1e4)
    np.save(tmp_path / "features.npy", features.numpy())
    sizes = ",".join(map(str, splits))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path), sizes], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    whole = gaussian_statistics(features)
    for rank in range(2):
        with np.load(tmp_path / f"rank{rank}.npz") as result:
            assert result["count"] == 300
            np.testing.assert_allclose(result["mean"], whole.mean, rtol=1e-14)
            np.testing.assert_allclose(result["covariance"], whole.covariance, rtol=1e-11, atol=1e-11)
