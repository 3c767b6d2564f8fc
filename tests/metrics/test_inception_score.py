from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stbench.errors import StbenchError
from stbench.metrics.inception_score import inception_score

CLASSES = 5


def _random_logits(count: int, classes: int = CLASSES, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=2, size=(count, classes))


def test_the_same_prediction_for_every_clip_scores_one() -> None:
    assert inception_score(np.zeros((20, CLASSES))).score == pytest.approx(1, abs=1e-12)
    assert inception_score(np.tile(_random_logits(1), (20, 1))).score == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 5, 101])
def test_certain_and_balanced_predictions_score_the_number_of_classes(classes: int) -> None:
    logits = np.tile(np.eye(classes) * 1e4, (3, 1))
    assert inception_score(logits).score == pytest.approx(classes, rel=1e-12)


def test_certain_predictions_score_the_exponential_of_the_labels_entropy() -> None:
    shares = {0: 6, 1: 3, 2: 1}
    logits = np.concatenate([np.tile(np.eye(3)[label] * 1e4, (count, 1)) for label, count in shares.items()])
    entropy = -sum(count / 10 * math.log(count / 10) for count in shares.values())
    assert inception_score(logits).score == pytest.approx(math.exp(entropy), rel=1e-12)


def test_it_is_the_formula_on_probabilities() -> None:
    logits = _random_logits(40)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    divergence = (probabilities * np.log(probabilities / probabilities.mean(axis=0))).sum(axis=1).mean()
    assert inception_score(logits).score == pytest.approx(math.exp(divergence), rel=1e-12)


def test_tensors_log_probabilities_and_shifted_logits_are_the_same() -> None:
    logits = torch.from_numpy(_random_logits(30))
    expected = inception_score(logits).score
    assert inception_score(logits.log_softmax(dim=1)).score == pytest.approx(expected, rel=1e-12)
    assert inception_score(logits + 1000).score == pytest.approx(expected, rel=1e-9)


def test_splits_give_mean_spread_and_interval() -> None:
    result = inception_score(_random_logits(103), splits=4)
    scores = np.array(result.split_scores)
    assert len(scores) == 4
    assert result.score == pytest.approx(scores.mean())
    assert result.std == pytest.approx(math.sqrt(((scores - scores.mean()) ** 2).mean()))
    # 3.1824 is the 97.5 % quantile of Student's t with 3 degrees of freedom.
    margin = 3.182446 * scores.std(ddof=1) / 2
    assert result.interval == pytest.approx((scores.mean() - margin, scores.mean() + margin), rel=1e-6)
    assert inception_score(_random_logits(103)).interval is None


def test_clips_in_order_of_their_classes_do_not_lower_the_score_of_splits() -> None:
    logits = np.repeat(np.eye(CLASSES) * 1e4, 200, axis=0)
    assert inception_score(logits, splits=5).score > 0.95 * CLASSES


def test_the_input_stays_as_it_was() -> None:
    logits = _random_logits(20)
    before = logits.copy()
    inception_score(logits)
    assert np.array_equal(logits, before)


@pytest.mark.parametrize(
    ("logits", "splits", "message"),
    [
        (np.zeros(7), 1, r"logits: expected \(samples, dimensions\), got shape \(7,\)"),
        (np.full((9, 3), np.nan), 1, "logits: 9 of 9 rows are not finite"),
        (np.zeros((9, 1)), 1, r"at least 2 classes, got logits of shape \(9, 1\)"),
        (np.zeros((9, 3)), 0, "splits: expected at least 1, got 0"),
        (
            np.zeros((100, 101)),
            1,
            "of 101 classes needs at least as many clips in each split, got 100 clips in 1 split$",
        ),
        (np.zeros((2048, 101)), 21, "got 2048 clips in 21 splits$"),
    ],
)
def test_what_has_no_score_is_refused(logits: np.ndarray, splits: int, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        inception_score(logits, splits)
