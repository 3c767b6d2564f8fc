"""How near sampled embeddings of images come to real ones of their class, beside what one may expect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stbench.records.sections import EmbeddingCosines

Unit = NDArray[np.float32]
"""Unit vectors (N, D)."""
Labels = NDArray[np.int64]
"""Their classes (N,)."""


def embedding_cosines(sampled: Unit, labels: Labels, real: Unit, real_labels: Labels) -> EmbeddingCosines:
    """Mean cosines over all pairs: products of unit vectors.

    Classes of which nothing is real, or a single embedding is, have no pairs there.
    """
    ours, theirs = sampled.astype(np.float64), real.astype(np.float64)
    alike = _mean_product(ours, theirs, labels[:, None] == real_labels)
    others = (real_labels[:, None] == real_labels) & ~np.eye(len(real), dtype=bool)
    return EmbeddingCosines(
        n_sampled=len(sampled),
        n_real=len(real),
        same_class=alike,
        real_same_class=_mean_product(theirs, theirs, others),
        any_class=_mean_product(ours, theirs, np.ones((len(sampled), len(real)), dtype=bool)),
    )


def _mean_product(first: NDArray[np.float64], second: NDArray[np.float64], pairs: NDArray[np.bool_]) -> float | None:
    return float((first @ second.T)[pairs].mean()) if pairs.any() else None
