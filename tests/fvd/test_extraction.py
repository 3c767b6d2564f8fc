"""Features of a side: in constant memory, and the same whatever the batch."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stbench.data.clips import ClipRule
from stbench.errors import StbenchError
from stbench.fvd.extraction import compute_features, shuffle_frames
from stbench.fvd.sides import SideFeatures, clip_rule, load_features
from stbench.fvd.sources import ClipSource, Reading, ranked
from stbench.metrics.detectors import Detector, build_detector
from stbench.metrics.protocol import PROTOCOLS
from stbench.records.protocol import Protocol


class Drawn(ClipSource):
    """Clips that are drawn when they are asked for; every fifth video is broken."""

    def __init__(self, count: int) -> None:
        self.path, self.ignored, self.storage = Path("drawn"), [], "drawn"
        self.video_ids = [f"video{index}" for index in range(count)]

    def readings(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[Reading]:
        for name in video_ids:
            number = int(name.removeprefix("video"))
            if number % 5 == 4:
                yield Reading(name, "broken", None, "broken")
                continue
            shape = (rule.num_frames, rule.resolution, rule.resolution, 3)
            yield Reading(name, name, np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8), None)

    def fingerprints(self, video_ids: Sequence[str], rule: ClipRule) -> Iterator[tuple[str, str]]:
        return ((name, name) for name in video_ids)

    def short_side(self) -> int:
        return 64


def first_value(name: str) -> int:
    """The first pixel's red of a clip of `Drawn`, 0 when the clip is broken."""
    clip = next(Drawn(0).readings([name], clip_rule(protocol_of(16), "real"))).clip
    return 0 if clip is None else int(clip[0, 0, 0, 0])


def protocol_of(resolution: int) -> Protocol:
    return replace(
        PROTOCOLS["builtin"],
        num_frames=16,
        frame_stride_real=1,
        resolution=resolution,
        detector_weights_sha256="0" * 64,
        detector_code_sha256=None,
    )


def compute(count: int, asked: int | None, batch_size: int = 8, resolution: int = 16) -> SideFeatures:
    return compute_features(
        Drawn(count),
        build_detector("shapes3d"),
        protocol_of(resolution),
        "fake",
        asked=asked,
        batch_size=batch_size,
        control=True,
    )


def peak_bytes(count: int) -> int:
    tracemalloc.start()
    try:
        compute(count, None, resolution=64)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class NotFinite(Detector):
    """Two features, one of which is infinite for clips that begin with a bright pixel."""

    name, feature_dim, min_frames, weights_sha256, preprocessing = "not-finite", 2, 1, "0" * 64, "none"

    def compute_features(self, clips: Tensor) -> Tensor:
        first = clips[:, 0, 0, 0, 0]
        return torch.stack([first, 1 / (first < 0.8).float()], dim=1)


def test_features_that_are_not_finite_name_the_video() -> None:
    # The first value of the generator, of 256: bright is 0.8 in [-1, 1], which is 229.5.
    bright = [name for name in ranked(Drawn(40).video_ids, 0) if first_value(name) >= 230]
    with pytest.raises(StbenchError, match=rf"^not-finite: features of clip {bright[0]} are not finite$"):
        compute_features(Drawn(40), NotFinite(), protocol_of(16), "real", asked=None, batch_size=8, control=False)


def test_memory_does_not_grow_with_the_number_of_clips() -> None:
    clip = 16 * 64 * 64 * 3
    few, many = peak_bytes(24), peak_bytes(120)
    assert few > 8 * clip  # a batch is seen by the counter at all
    assert many < few + 8 * clip  # batches differ by what is broken in them; 77 more clips would be ten times as much


def test_the_first_usable_videos_in_order_are_taken() -> None:
    side = compute(60, asked=20)
    usable = [name for name in ranked(Drawn(60).video_ids, 0) if int(name.removeprefix("video")) % 5 != 4]
    assert side.video_ids == usable[:20]
    assert side.tried[-1][0] == usable[19]
    assert len(side.tried) == 20 + len(side.dropped)
    assert side.found == 60


def test_a_smaller_comparison_is_the_beginning_of_a_larger() -> None:
    large, small = compute(60, asked=30), compute(60, asked=12)
    cut = large.first(12)
    assert (cut.video_ids, cut.tried, cut.dropped, cut.asked) == (
        small.video_ids,
        small.tried,
        small.dropped,
        small.asked,
    )
    np.testing.assert_allclose(cut.features, small.features, rtol=1e-5, atol=1e-6)
    assert large.first(None) is large
    assert cut.manifest_sha256 == small.manifest_sha256 != large.manifest_sha256


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_batches_change_nothing(batch_size: int) -> None:
    one, other = compute(40, 25, batch_size=8), compute(40, 25, batch_size=batch_size)
    assert (one.video_ids, one.tried, one.dropped) == (other.video_ids, other.tried, other.dropped)
    np.testing.assert_allclose(one.features, other.features, rtol=1e-5, atol=1e-6)
    assert one.shuffled is not None
    assert other.shuffled is not None
    np.testing.assert_allclose(one.shuffled, other.shuffled, rtol=1e-5, atol=1e-6)


def test_what_is_kept_is_what_was_computed(tmp_path: Path) -> None:
    side = compute(20, 12)
    side.save(tmp_path / "fake_features.npz")
    kept = load_features(tmp_path / "fake_features.npz")
    assert np.array_equal(kept.features, side.features)
    assert {**vars(kept), "features": 0, "shuffled": 0} == {
        **vars(side),
        "features": 0,
        "shuffled": 0,
        "file": tmp_path / "fake_features.npz",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["fake_features.npz"]


def test_shuffling_is_a_function_of_seed_and_name() -> None:
    clip = np.arange(16, dtype=np.uint8).reshape(16, 1, 1, 1).repeat(3, axis=-1)
    orders = {
        (seed, name): shuffle_frames(clip, name, seed)[:, 0, 0, 0].tolist() for seed in (0, 1) for name in ("a", "b")
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    assert all(sorted(order) == list(range(16)) != order for order in orders.values())
    assert shuffle_frames(clip, "a", 0)[:, 0, 0, 0].tolist() == orders[0, "a"]
