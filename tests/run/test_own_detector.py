"""A detector of the user's own judges a run as `protocol=module:Class`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector
from stbench.run.setup import Setup, prepare
from stbench.runtime.code import code_sha256
from stbench.settings.resolve import resolve


class Motion(Detector):
    name = "motion"
    feature_dim = 6
    min_frames = 2
    weights_sha256 = "none"
    preprocessing = "as-is"

    def compute_features(self, clips: Tensor) -> Tensor:
        return torch.cat([clips.mean(dim=(2, 3, 4)), clips.diff(dim=2).abs().mean(dim=(2, 3, 4))], dim=1)


class Frames(Motion):
    per_frame = True


class LongClips(Motion):
    min_frames = max_frames = 100


def _prepare(class_name: str) -> Setup:
    words = ["variant=latte1", "dataset=shapes", "preset=smoke", "device=cpu", f"protocol={__name__}:{class_name}"]
    return prepare(resolve(words))


def test_the_protocol_is_the_builtin_one_with_what_the_detector_says_of_itself() -> None:
    setup = _prepare("Motion")
    protocol = setup.protocol
    assert isinstance(setup.detector, Motion)
    assert (protocol.detector, protocol.feature_dim, protocol.preprocessing) == (f"{__name__}:Motion", 6, "as-is")
    assert (protocol.detector_weights_sha256, protocol.bn_eps) == ("none", None)
    assert protocol.num_frames == setup.dataset.num_frames
    assert setup.config.contents is not None
    assert (
        protocol.detector_code_sha256 == setup.config.contents.detector_code == code_sha256(f"{__name__}:Motion", None)
    )
    assert protocol.dataset_code_sha256 is None


@pytest.mark.parametrize(
    ("class_name", "message"),
    [
        ("Frames", "the detector motion judges single frames, a run judges clips"),
        ("LongClips", r"dataset\.num_frames=\d+: the detector motion needs exactly 100$"),
        ("Missing", "cannot be imported as module:Class"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(class_name: str, message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        _prepare(class_name)
