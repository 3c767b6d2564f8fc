"""The built-in detector: what it accepts, and that its distance rises with every kind of damage."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from stbench.data.loading import clips_to_tensor
from stbench.data.synthetic.shapes import Shapes
from stbench.errors import StbenchError
from stbench.metrics.class_agreement import class_agreement
from stbench.metrics.detectors import Detector, build_detector
from stbench.metrics.detectors.shapes3d import BUILTIN_WEIGHTS, MOTION_HEAD
from stbench.metrics.distortions import DISTORTIONS, ORDER_DISTORTIONS
from stbench.metrics.frechet import frechet_distance
from stbench.metrics.kernel import kernel_distance
from stbench.records.protocol import METRIC_VERSION

NUM_CLIPS = 256  # as in the protocol `builtin`
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
PLAIN_DISC = {
    "image_size": 16,
    "num_shapes": 1,
    "shapes": ("disc",),
    "motions": ("right", "left", "up", "down"),
    "colors": ("red", "green", "blue", "yellow"),
    "background": "plain",
}
LOOKS = {"plain disc": PLAIN_DISC, "textured": {"image_size": 32}}


@cache
def _detector() -> Detector:
    return build_detector("shapes3d")


@cache
def _clips(look: str, first: int) -> Tensor:
    dataset = Shapes(num_frames=8, frame_stride=1, **LOOKS[look])  # type: ignore[arg-type]
    return clips_to_tensor(dataset.batch(range(first, first + NUM_CLIPS), [0] * NUM_CLIPS)[0])


def _features(clips: Tensor) -> NDArray[np.float32]:
    return torch.cat([_detector()(batch) for batch in clips.split(64)]).numpy()


@cache
def _real_features(look: str) -> NDArray[np.float32]:
    return _features(_clips(look, first=0))


def _distance(look: str, clips: Tensor) -> float:
    return frechet_distance(_real_features(look), _features(clips))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", DISTORTIONS)
def test_distance_rises_with_every_distortion(look: str, name: str) -> None:
    others = _clips(look, first=NUM_CLIPS)
    generator = torch.Generator().manual_seed(0)
    damaged = [others, *(DISTORTIONS[name](others, strength, generator) for strength in STRENGTHS)]
    distances = [_distance(look, clips) for clips in damaged]
    assert distances == sorted(distances)
    assert distances[-1] > 3 * distances[0]


@pytest.mark.parametrize("look", LOOKS)
def test_shuffled_and_frozen_clips_are_far_from_moving_ones(look: str) -> None:
    others = _clips(look, first=NUM_CLIPS)
    moving = _distance(look, others)
    order = torch.rand((NUM_CLIPS, 8), generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    shuffled = torch.stack([clip[:, frames] for clip, frames in zip(others, order, strict=True)])
    frozen = others[:, :, :1].expand_as(others).contiguous()
    assert _distance(look, shuffled) > 5 * moving
    assert _distance(look, frozen) > 5 * moving


def test_one_way_of_moving_is_told_from_four() -> None:
    others = _clips("plain disc", first=NUM_CLIPS)
    rightwards = others[::4].repeat(4, 1, 1, 1, 1)  # the four motions take turns
    assert _distance("plain disc", rightwards) > 5 * _distance("plain disc", others)


@pytest.mark.parametrize("name", ORDER_DISTORTIONS)
def test_the_kernel_distance_sees_damaged_order_too(name: str) -> None:
    damaged = DISTORTIONS[name](_clips("plain disc", NUM_CLIPS), 1.0, torch.Generator().manual_seed(0))
    clean = kernel_distance(_real_features("plain disc"), _features(_clips("plain disc", NUM_CLIPS)))
    assert kernel_distance(_real_features("plain disc"), _features(damaged)).interval[0] > clean.distance


def test_the_motions_of_real_clips_are_named() -> None:
    plain = Shapes(num_frames=8, frame_stride=1, **PLAIN_DISC)  # type: ignore[arg-type]
    labels = np.arange(NUM_CLIPS) % 4
    agreement = class_agreement(_detector(), _real_features("plain disc"), labels, plain.class_names)
    assert agreement is not None
    assert agreement > 0.98


def test_nothing_is_named_by_other_features(tmp_path: Path) -> None:
    """The classifier was fitted on those that ship."""
    path = tmp_path / "other.safetensors"
    save_file({name: 0.9 * tensor for name, tensor in load_file(BUILTIN_WEIGHTS).items()}, path)
    assert build_detector("shapes3d", weights=path).class_names == ()


def test_the_classifier_changes_with_the_version_of_the_metrics() -> None:
    """Class agreement depends on it, and no protocol knows its hash: another file needs another version."""
    assert METRIC_VERSION == 2
    assert hashlib.sha256(MOTION_HEAD.read_bytes()).hexdigest().startswith("7394e4c5")


def test_weights_are_small_and_identified() -> None:
    assert BUILTIN_WEIGHTS.stat().st_size < 1_000_000
    assert _detector().weights_sha256 == hashlib.sha256(BUILTIN_WEIGHTS.read_bytes()).hexdigest()
    assert sum(parameter.numel() for parameter in _detector().parameters()) < 250_000


@pytest.mark.parametrize(("F", "S"), [(4, 16), (7, 48), (16, 64), (33, 20)])
def test_any_size_and_length_gives_64_features(F: int, S: int) -> None:
    features = _detector()(torch.zeros(2, 3, F, S, S))
    assert features.shape == (2, 64)
    assert features.dtype == torch.float32


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_features_do_not_depend_on_the_batch_or_the_order(batch_size: int) -> None:
    clips = _clips("plain disc", first=0)[:32]
    whole = _detector()(clips)
    parts = torch.cat([_detector()(batch) for batch in clips.flip(0).split(batch_size)]).flip(0)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)


def test_every_feature_varies() -> None:
    assert (_real_features("plain disc").std(axis=0) > 1e-4).all()


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"stem.conv.weight": torch.zeros(1)}, path)
    with pytest.raises(StbenchError, match="weights of another network"):
        build_detector("shapes3d", weights=path)
