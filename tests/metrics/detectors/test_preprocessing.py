from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

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
    stretch = Preprocessing(size=8, scaled="stretched", antialias=False, source="test")
    assert preprocess(wide, replace(stretch, scaled="up")).min() == 1
    assert preprocess(wide, replace(stretch, scaled="down")).min() == 1
    assert preprocess(wide, stretch)[0, 0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(("H", "W"), [(240, 320), (360, 640), (101, 37), (224, 224), (64, 64), (50, 50), (400, 400)])
def test_videogpt_is_its_release(H: int, W: int) -> None:
    """Its arithmetic again, on bytes; 50 and 400 are two of the square sizes that floating point makes 225x224 of."""
    video = torch.randint(0, 256, (2, H, W, 3), dtype=torch.uint8)
    scale = 224 / min(H, W)
    size = (224, math.ceil(W * scale)) if H < W else (math.ceil(H * scale), 224)
    assert (size == (225, 224)) == (H in (50, 400))
    scaled = interpolate(video.permute(0, 3, 1, 2).float() / 255, size, mode="bilinear")
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    released = (scaled[:, :, top : top + 224, left : left + 224] - 0.5) * 2

    clips = video.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    ours = preprocess(clips, get_preprocessing("i3d", "videogpt"))[0].transpose(0, 1)
    torch.testing.assert_close(ours, released, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("H", "W"), [(240, 320), (320, 240), (300, 301), (250, 250)])
def test_imagenet_is_the_processor_of_transformers(H: int, W: int) -> None:
    """But for its bytes, which are rounded after the width is scaled and again after the height."""
    processing = pytest.importorskip("transformers.models.videomae.image_processing_pil_videomae")
    waves = 127 + 60 * np.add.outer(np.sin(np.arange(H) / 3), np.sin(np.arange(W) / 3))
    frame = np.stack([waves, waves[::-1], waves[:, ::-1]]).astype(np.uint8)
    # Mean and deviation stand in the published preprocessor_config.json.
    processor = processing.VideoMAEImageProcessorPil(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    expected = torch.from_numpy(processor([frame, frame], return_tensors="np")["pixel_values"][0, 0])

    clips = torch.from_numpy(frame)[None, :, None].float() / 127.5 - 1
    ours = preprocess(clips, get_preprocessing("videomae", "imagenet"))[0, :, 0]
    assert float((ours - expected).abs().max()) < 1.1 / 255 / 0.224


@pytest.mark.parametrize(
    ("detector", "name", "black", "white"),
    [
        ("i3d", "videogpt", [-1.0] * 3, [1.0] * 3),
        ("i3d", "videogpt-2021-06-02", [-0.5] * 3, [0.5] * 3),
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
