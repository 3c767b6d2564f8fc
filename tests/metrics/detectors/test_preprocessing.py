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
    reach = 2 if rule.interpolation == "bicubic" else 1  # cubic weights overshoot
    scale, shift = (torch.tensor(value).reshape(-1, 1, 1, 1) for value in (rule.scale, rule.shift))
    assert ((result - shift).abs() <= reach * scale + 1e-4).all()


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


@pytest.mark.parametrize(
    ("detector", "name", "black", "white"),
    [
        ("i3d", "videogpt", [-0.5] * 3, [0.5] * 3),
        ("videomae", "cdfvd", [0.0] * 3, [1.0] * 3),
        # (pixel - mean) / std of ImageNet, written out for 0 and 1.
        ("videomae", "imagenet", [-2.117904, -2.035714, -1.804444], [2.248908, 2.428571, 2.640000]),
        ("c3d", "tgan2", [0.0] * 3, [255.0] * 3),
        ("inception", "pytorch-fid", [-1.0] * 3, [1.0] * 3),
        ("inception", "torchmetrics", [-1.0] * 3, [127 / 128] * 3),
    ],
)
def test_black_and_white_are_those_of_the_reference(
    detector: str, name: str, black: list[float], white: list[float]
) -> None:
    rule = get_preprocessing(detector, name)
    for value, expected in ((-1.0, black), (1.0, white)):
        result = preprocess(torch.full((1, 3, 1, 20, 20), value), rule)
        torch.testing.assert_close(result[0, :, 0, 7, 5], torch.tensor(expected))


def test_tgan_scales_to_128_and_crops_the_centre() -> None:
    rule = get_preprocessing("c3d", "tgan")
    clips = torch.rand(1, 3, 1, 128, 128) * 2 - 1
    torch.testing.assert_close(preprocess(clips, rule), clips[..., 8:120, 8:120] * 127.5 + 127.5)


def test_tgan2_keeps_the_corner_pixels_in_place() -> None:
    clips = torch.rand(1, 3, 1, 30, 40) * 2 - 1
    result = preprocess(clips, get_preprocessing("c3d", "tgan2"))
    torch.testing.assert_close(result[..., ::111, ::111], clips[..., ::29, ::39] * 127.5 + 127.5)
