"""Detectors of the user's own whose figures would mean nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector, build_detector, try_detector


class Colour(Detector):
    name = "colour"
    feature_dim = 3
    min_frames = 2
    weights_sha256 = "none"
    preprocessing = "none"

    def compute_features(self, clips: Tensor) -> Tensor:
        return clips.mean(dim=(2, 3, 4))


class Constant(Colour):
    def compute_features(self, clips: Tensor) -> Tensor:
        return torch.ones(len(clips), 3)


class OfBatches(Colour):
    def compute_features(self, clips: Tensor) -> Tensor:
        features = super().compute_features(clips)
        return features - features.mean(0)


class Noisy(Colour):
    def compute_features(self, clips: Tensor) -> Tensor:
        return super().compute_features(clips) + 0.1 * torch.randn(len(clips), 3)


class Writing(Colour):
    def compute_features(self, clips: Tensor) -> Tensor:
        return super().compute_features(clips.clamp_(min=0))


class Short(Colour):
    def compute_features(self, clips: Tensor) -> Tensor:
        return super().compute_features(clips)[:, :2]


class Drawn(Colour):
    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(3, 3)

    def compute_features(self, clips: Tensor) -> Tensor:
        return super().compute_features(clips) @ self.projection


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        (Constant, "the features do not depend on the clip"),
        (OfBatches, "the features of a clip depend on the other clips of its batch"),
        (Noisy, "the features of one clip are not the same twice"),
        (Writing, "compute_features writes into the clips"),
        (Short, r"expected features \(3, 3\), got shape \(3, 2\)"),
    ],
)
def test_a_detector_that_judges_something_else_than_clips_is_refused(detector: type[Colour], said: str) -> None:
    with pytest.raises(StbenchError, match=f"^colour: {said}"):
        try_detector(detector(), 4, 8)


def test_a_sound_detector_is_taken_and_shifts_no_random_number() -> None:
    before = torch.get_rng_state()
    try_detector(Colour(), 4, 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_a_detector_draws_are_the_same_in_every_process() -> None:
    built = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        built.append(build_detector(f"{__name__}:Drawn"))
    clips = torch.zeros(1, 3, 2, 4, 4).uniform_(-1, 1)
    assert torch.equal(built[0](clips), built[1](clips))


def test_attributes_of_another_type_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("feature_dim", "3"), ("min_frames", 0), ("weights_sha256", None)):
        with monkeypatch.context() as patch, pytest.raises(StbenchError, match=rf"Colour': {name}='?{value}"):
            patch.setattr(Colour, name, value)
            build_detector(f"{__name__}:Colour")
