from __future__ import annotations

import pytest
import torch

from stbench.metrics.catalogue import DETECTORS, Preprocessing, get_preprocessing
from stbench.metrics.detectors.preprocessing import preprocess

ALL = [(detector, name) for detector, info in DETECTORS.items() for name in info.preprocessings]


@pytest.mark.parametrize(("detector", "name"), ALL)
@pytest.mark.parametrize(("H", "W"), [(16, 16), (30, 40), (224, 224), (225, 331), (64, 48)])
def test_every_size_becomes_the_detectors(detector: str, name: str, H: int, W: int) -> None:
    rule = get_preprocessing(detector, name)
    clips = torch.rand(1, 3, 2, H, W) * 2 - 1
    result = preprocess(clips, rule)
    assert result.shape == (1, 3, 2, rule.size, rule.size)
    assert result.abs().max() <= rule.scale


def test_right_size_is_left_alone() -> None:
    clips = torch.rand(2, 3, 2, 224, 224) * 2 - 1
    assert torch.equal(preprocess(clips, get_preprocessing("i3d", "styleganv")), clips)


def test_frames_are_resized_each_for_itself() -> None:
    rule = get_preprocessing("shapes3d", "resize32")
    clips = torch.rand(2, 3, 4, 20, 20)
    alone = torch.stack([preprocess(clips[:, :, f : f + 1], rule)[:, :, 0] for f in range(4)], dim=2)
    torch.testing.assert_close(preprocess(clips, rule), alone)


def test_crop_keeps_proportions_and_the_centre_and_stretch_keeps_everything() -> None:
    wide = torch.zeros(1, 3, 1, 8, 16)
    wide[..., 4:12] = 1  # exactly the centre square
    crop = Preprocessing(size=8, crop=True, antialias=False, scale=1.0, source="test")
    stretch = Preprocessing(size=8, crop=False, antialias=False, scale=1.0, source="test")
    assert preprocess(wide, crop).min() == 1
    assert preprocess(wide, stretch)[0, 0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
