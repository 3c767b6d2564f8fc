"""Frozen networks that turn clips into features, and how to get one by name."""

from stbench.metrics.detectors.base import Detector, build_detector, extract_features, features_of
from stbench.metrics.detectors.trial import try_detector

__all__ = ["Detector", "build_detector", "extract_features", "features_of", "try_detector"]
