"""Inception Score: Salimans et al. 2016 (arXiv 1606.03498), for videos as TGAN computes it (arXiv 1611.06624).

    IS = exp(E KL(p(y | x) || p(y))),  p(y) = E p(y | x)
It lies between 1 and the number of classes, and rises with the number of clips, so that scores compare only at the same
number. TGANv2 (arXiv 1811.09245) takes 2048 clips at once and repeats that on ten sets of new samples; images are
usually scored in ten splits of one set. Float64 from log-probabilities: no small constant is added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax, logsumexp
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.frechet import FloatArray, check_features
from stbench.metrics.intervals import student_interval
from stbench.records.statistics import CONFIDENCE


@dataclass(frozen=True)
class InceptionScore:
    """An Inception Score, the mean over splits.

    Attributes:
        score: mean of `split_scores`; with one split, the score of all clips.
        std: their standard deviation as papers print it, divided by the number of splits; 0 with one split.
        interval: `score` plus and minus Student's t times the standard error over splits: for the score of as many
            clips as a split has; None with one split.
        split_scores: one score for each split.
        confidence: coverage that the interval aims at.
    """

    score: float
    std: float
    interval: tuple[float, float] | None
    split_scores: tuple[float, ...]
    confidence: float


def inception_score(
    logits: ArrayLike | Tensor, splits: int = 1, confidence: float = CONFIDENCE, seed: int = 0
) -> InceptionScore:
    """Inception Score of a classifier's outputs.

    Args:
        logits: (N, classes), as of the detector `c3d`. Log-probabilities do as well: they are logits of themselves.
        splits: disjoint parts that are scored by themselves. TGANv2 has 1; images usually 10.
        confidence: coverage of the interval.
        seed: of the shuffle that deals clips to splits, so that clips in order of their classes do not matter.

    Raises:
        StbenchError: logits that are not 2-D or not finite, fewer than 2 classes, no split, or splits of fewer clips
            than there are classes, which no score could tell apart.
    """
    array = check_features(logits, "logits")
    count, classes = array.shape
    if classes < 2:
        raise StbenchError(f"an Inception Score needs at least 2 classes, got logits of shape {array.shape}")
    if splits < 1:
        raise StbenchError(f"splits: expected at least 1, got {splits}")
    if count // splits < classes:
        raise StbenchError(
            f"an Inception Score of {classes} classes needs at least as many clips in each split, "
            f"got {count} clips in {splits} split{'s' * (splits > 1)}"
        )
    log_probabilities = log_softmax(array, axis=1)
    order = np.random.default_rng(seed).permutation(count)
    scores = [_score(log_probabilities[part]) for part in np.array_split(order, splits)]
    mean, std = float(np.mean(scores)), float(np.std(scores))
    bounds = None
    if splits > 1:
        bounds = student_interval(mean, float(np.std(scores, ddof=1)) / splits**0.5, splits - 1, confidence)
    return InceptionScore(mean, std, bounds, tuple(scores), confidence)


def _score(log_probabilities: FloatArray) -> float:
    """The score of clips with these log-probabilities (N, classes)."""
    marginal = logsumexp(log_probabilities, axis=0) - np.log(len(log_probabilities))
    divergences = (np.exp(log_probabilities) * (log_probabilities - marginal)).sum(axis=1)
    return float(np.exp(divergences.mean()))
