"""A classifier's answer is asked for among the dataset's classes alone, which are matched by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from stbench.metrics.class_agreement import class_agreement
from stbench.metrics.detectors import Detector

# Likeliest of "a", "b", "c": c, a, b, c.
FEATURES = np.array([[0, 1, 2], [3, 1, 2], [0, 5, 1], [1, 0, 2]], dtype=np.float32)


class Classifier(Detector):
    """Its features are logits of three classes."""

    name, feature_dim, min_frames, weights_sha256, preprocessing = "three", 3, 1, "none", "none"
    class_names: Sequence[str] = ("a", "b", "c")

    def compute_features(self, clips: Tensor) -> Tensor:
        raise NotImplementedError


class Doubtful(Classifier):
    """Its least likely answer is meant."""

    def class_scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return -features


@pytest.mark.parametrize(
    ("class_names", "labels", "agreement"),
    [
        (["a", "b", "c"], [2, 0, 1, 2], 1.0),
        (["c", "b", "a"], [0, 2, 1, 0], 1.0),
        (["a", "b", "c"], [2, 0, 0, 0], 0.5),
        (["b", "a"], [0, 1, 0, 1], 1.0),
        (["a", "d"], [0, 0, 0, 0], None),
        (["a"], [0, 0, 0, 0], None),
        ([], [0, 0, 0, 0], None),
    ],
)
def test_agreement(class_names: Sequence[str], labels: list[int], agreement: float | None) -> None:
    assert class_agreement(Classifier(), FEATURES, np.array(labels), class_names) == agreement


def test_the_detector_says_how_its_features_are_read() -> None:
    assert class_agreement(Doubtful(), FEATURES, np.array([0, 1, 0, 1]), ["a", "b", "c"]) == 1.0


def test_a_detector_without_classes_is_no_classifier() -> None:
    class Features(Classifier):
        class_names: Sequence[str] = ()

    assert class_agreement(Features(), FEATURES, np.zeros(4, np.int64), ["a", "b"]) is None
