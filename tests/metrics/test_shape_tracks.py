"""Shapes are found where they were drawn, as large, turned and coloured as they are, to parts of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stbench.data.synthetic.shapes import SYMMETRY, Shapes
from stbench.metrics.shape_tracks import ShapeFinder, Tracks

SIZE = 32
LABELS = [0] * 32


def drawn(**options: Any) -> tuple[Shapes, Tracks]:
    """A dataset, and what is seen in its first 32 clips."""
    dataset = Shapes(**{"image_size": SIZE, "num_frames": 6, "frame_stride": 1, "num_shapes": 1} | options)
    return dataset, ShapeFinder(dataset).find(dataset.batch(range(len(LABELS)), LABELS)[0])


def turns_apart(first: Any, second: Any) -> Any:
    """How far apart places are on a circle of circumference 1."""
    return np.abs((first - second + 0.5) % 1 - 0.5)


@pytest.mark.parametrize("background", ["plain", "textured"])
def test_shapes_are_where_they_were_drawn(background: str) -> None:
    dataset, tracks = drawn(background=background)
    scene = dataset._scene(np.arange(len(LABELS)))
    assert turns_apart(tracks.x, scene.pose.x).max() < 0.5 / SIZE
    assert turns_apart(tracks.y, scene.pose.y).max() < 0.5 / SIZE
    assert (tracks.color == scene.color).all()
    assert (tracks.symmetry == np.array([SYMMETRY.get(name, 0) for name in dataset.shapes])[scene.kind]).all()
    assert np.abs(np.log(tracks.radius / (scene.radius[..., None] * scene.pose.scale))).mean() < 0.05
    assert tracks.overlap.min() > 0.8


@pytest.mark.parametrize("shape", SYMMETRY)
def test_angles_are_known_up_to_the_symmetry(shape: str) -> None:
    dataset, tracks = drawn(shapes=[shape], motions=["rotate"], image_size=64)
    angle = dataset._scene(np.arange(len(LABELS))).pose.angle
    parts = SYMMETRY[shape] / (2 * np.pi)
    assert turns_apart(tracks.angle * parts, angle * parts).max() < 0.1


def test_a_shape_in_the_corner_is_one_shape() -> None:
    dataset, tracks = drawn(shapes=["disc"], motions=["right"], background="plain")
    frames, _ = dataset.batch([0], [0])
    moved = ShapeFinder(dataset).find(np.roll(frames, (5, 9), axis=(2, 3)))
    assert turns_apart(moved.y, tracks.y[:1] + 5 / SIZE).max() < 1e-3
    assert turns_apart(moved.x, tracks.x[:1] + 9 / SIZE).max() < 1e-3
    np.testing.assert_allclose(moved.overlap, tracks.overlap[:1], atol=1e-3)


@pytest.mark.parametrize("brightness", [0, 30, 255])
def test_an_even_frame_holds_no_shape(brightness: int) -> None:
    dataset, _ = drawn()
    tracks = ShapeFinder(dataset).find(np.full((2, 6, SIZE, SIZE, 3), brightness, np.uint8))
    assert tracks.overlap.max() < 0.3
    assert all(np.isfinite(each).all() for each in vars(tracks).values())
