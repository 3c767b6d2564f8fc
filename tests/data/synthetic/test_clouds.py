"""The generated sky: its colours, its light, and clouds that drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stbench.data.synthetic.clouds import _CLOUD, _SKY_BOTTOM, _SKY_TOP, Clouds


def sky(num_videos: int, num_frames: int = 8, stride: int = 1, size: int = 32) -> NDArray[np.float64]:
    clips, _ = Clouds(size, num_frames, stride).batch(range(num_videos), [0] * num_videos)
    return clips.astype(np.float64)


def test_clouds_are_unconditional_and_sky_coloured() -> None:
    dataset = Clouds(32, 8, 1)
    clips, labels = dataset.batch(range(64), [0] * 64)
    assert dataset.num_classes == 0
    assert not labels.any()
    red, _, blue = clips[:, :, :8].reshape(-1, 3).mean(axis=0)
    assert blue > red
    # Light: the mean brightness drifts from the first frame to the last.
    light = clips.mean(axis=(2, 3, 4))
    assert np.abs(light[:, -1] - light[:, 0]).mean() > 2


def test_what_decides_the_videos_is_told() -> None:
    dataset = Clouds(16, 4, 2, seed=3, length=7)
    assert dataset.content() == {"generator": "clouds-1", "seed": 3, "length": 7}
    assert dataset.num_classes == 0
    assert dataset.describe().num_videos == len(dataset) == 7


def shifted(frame: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    """The columns of a frame (H,W,3) that are still there when it moves by so many pixels."""
    return frame[:, max(0, -by) : frame.shape[1] - max(0, by)]


def test_clouds_drift_sideways() -> None:
    # At 64 pixels the wind moves the coarsest octave by 0.6 to 1.9 pixels a frame, finer ones faster.
    moved = 0
    for clip in sky(24, num_frames=2, stride=2, size=64):
        differences = {
            by: np.abs(shifted(clip[0], by) - shifted(clip[1], -by)).mean() for by in (-4, -3, -2, -1, 0, 1, 2, 3, 4)
        }
        moved += min(differences, key=lambda by: differences[by]) != 0
    assert moved >= 20


def test_no_pixel_is_darker_than_the_palette() -> None:
    # Sky lies between its colours above and below; cloud is at most darkened to 1.08 - 0.55 of its own.
    darkest = np.minimum(np.min([*_SKY_TOP, *_SKY_BOTTOM], axis=0), 0.53 * np.min(_CLOUD, axis=0))
    lowest = sky(64, num_frames=4, stride=20).min(axis=(0, 1, 2, 3))
    assert (lowest >= 255 * darkest - 1).all()
    assert (lowest <= 255 * darkest + 40).all()
