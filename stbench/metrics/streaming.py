"""Mean and covariance of features that arrive in batches: in constant memory, over any number of processes.

What is kept is centred: raw sums of squares lose the digits of a small spread around a large mean. Parts are merged as
in Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from stbench.errors import StbenchError
from stbench.metrics.frechet import GaussianStatistics, require_samples


class FeatureStatistics(Metric):
    """Mean and covariance of features that arrive in batches, in constant memory and over any number of processes.

    `update(features (N, D))` adds a batch; `compute()` returns `GaussianStatistics`. The result does not depend on how
    the samples were split into batches or processes, but for rounding; a process may have had none.
    """

    full_state_update = True  # `forward` must not combine states one by one: they are merged together or not at all
    num_samples: Tensor
    mean: Tensor
    scatter: Tensor

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        # Without a reduction, `compute` finds the states of all processes stacked.
        self.add_state("num_samples", torch.tensor(0, dtype=torch.int64), dist_reduce_fx=None)
        self.add_state("mean", torch.zeros(feature_dim, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("scatter", torch.zeros(feature_dim, feature_dim, dtype=torch.float64), dist_reduce_fx=None)

    def update(self, features: Tensor) -> None:
        """Add a batch of features (N, D); an empty batch adds nothing."""
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise StbenchError(f"features: expected (samples, {self.feature_dim}), got shape {tuple(features.shape)}")
        if not torch.isfinite(features).all():
            raise StbenchError("features: a batch holds values that are not finite")
        if len(features):
            batch = features.detach().to(self.mean)
            mean = batch.mean(dim=0)
            centred = batch - mean
            total = self._moments().merged(_Moments(len(batch), mean, centred.T @ centred))
            self.num_samples = torch.full_like(self.num_samples, total.num_samples)
            self.mean, self.scatter = total.mean, total.scatter

    def compute(self) -> GaussianStatistics:
        """Return the statistics of all samples so far; at least 2 are needed."""
        total = self._moments()
        require_samples(total.num_samples)
        covariance = total.scatter / (total.num_samples - 1)
        return GaussianStatistics(total.mean.cpu().numpy(), covariance.cpu().numpy(), total.num_samples)

    def _moments(self) -> _Moments:
        """Of all processes where their states were gathered, in the order of their ranks; else of this one."""
        d = self.feature_dim
        counts = self.num_samples.reshape(-1).tolist()
        parts = map(_Moments, counts, self.mean.reshape(-1, d), self.scatter.reshape(-1, d, d))
        return functools.reduce(_Moments.merged, parts)


class _Moments(NamedTuple):
    """Sufficient statistics of some samples: their number, mean (D,), and summed outer products around it (D, D)."""

    num_samples: int
    mean: Tensor
    scatter: Tensor

    def merged(self, other: _Moments) -> _Moments:
        """The statistics of both sets together."""
        count = self.num_samples + other.num_samples
        if count == 0:
            return self
        step = other.mean - self.mean
        between = torch.outer(step, step) * (self.num_samples * other.num_samples / count)
        return _Moments(count, self.mean + step * (other.num_samples / count), self.scatter + other.scatter + between)
