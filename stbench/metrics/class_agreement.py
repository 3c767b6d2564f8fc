"""How often a classifier gives a clip the class that it was made for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stbench.metrics.detectors.base import Detector


def class_agreement(
    detector: Detector, features: NDArray[np.float32], labels: NDArray[np.int64], class_names: Sequence[str]
) -> float | None:
    """Share of the clips whose class is the one of the dataset's that the detector finds likeliest.

    Args:
        detector: that the features are of.
        features: (N,D).
        labels: classes of the clips, (N,).
        class_names: of the dataset, by label; matched with the detector's by name.

    Returns:
        None where there is nothing to tell apart, or a class that the detector does not know.
    """
    known = {name: number for number, name in enumerate(detector.class_names)}
    if len(class_names) < 2 or not known.keys() >= set(class_names):
        return None
    asked = detector.class_scores(features)[:, [known[name] for name in class_names]]
    return float((asked.argmax(axis=1) == labels).mean())
