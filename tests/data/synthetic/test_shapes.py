"""Shapes move as their class says, and are drawn where and as large as their formulas have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stbench.data.synthetic.shapes import COLORS, MOTIONS, PLAIN_BACKGROUND, SHAPES, Shapes
from stbench.errors import StbenchError

PLAIN: dict[str, Any] = {
    "num_shapes": 1,
    "shapes": ["disc"],
    "motions": ["right", "left", "up", "down"],
    "colors": ["red", "green", "blue", "yellow"],
    "background": "plain",
}
TAN_36, COS_72 = np.tan(np.radians(36)), np.cos(np.radians(72))


def one_shape(motion: str, shape: str = "square", **changes: Any) -> Shapes:
    options = PLAIN | {"shapes": [shape], "motions": [motion]} | changes
    return Shapes(32, 8, 1, **options)


def coverage(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much of each pixel is not background, (B,F,H,W), from the channel that differs most."""
    away = clips.astype(np.float64) - np.round(PLAIN_BACKGROUND.ravel() * 255)
    peak = away[np.arange(len(away)), :, :, :, np.abs(away).max(axis=(1, 2, 3)).argmax(-1)]
    return peak / peak.max(axis=(1, 2, 3), keepdims=True)


def centres(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Centre (x, y) of the single shape in every frame, (B,F,2), on a frame that wraps round, in unit coordinates."""
    weight = coverage(clips)
    turn = np.exp(2j * np.pi * (np.arange(weight.shape[-1]) + 0.5) / weight.shape[-1])
    x, y = (weight.sum(axis=2) * turn).sum(-1), (weight.sum(axis=3) * turn).sum(-1)
    return np.stack([np.angle(x), np.angle(y)], axis=-1) / (2 * np.pi) % 1


def steps(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Way (x, y) from each frame to the next, the short way round."""
    return (np.diff(centres(clips), axis=1) + 0.5) % 1 - 0.5


def test_classes_take_turns() -> None:
    dataset = Shapes(16, 2, 1)
    _, labels = dataset.batch(range(24), [0] * 24)
    assert dataset.class_names == tuple(MOTIONS)
    assert dataset.num_classes == 8
    assert labels.tolist() == list(range(8)) * 3


def test_the_list_of_motions_gives_the_labels() -> None:
    dataset = Shapes(32, 4, 1, **(PLAIN | {"motions": ["down", "right"]}))
    clips, labels = dataset.batch(range(20), [0] * 20)
    way = steps(clips).mean(axis=1)
    assert (way[labels == 0, 1] > 0.05).all()
    assert (way[labels == 1, 0] > 0.05).all()


@pytest.mark.parametrize(
    ("motion", "direction"), [("right", (1, 0)), ("left", (-1, 0)), ("down", (0, 1)), ("up", (0, -1))]
)
def test_drifting_has_a_constant_velocity(motion: str, direction: tuple[int, int]) -> None:
    way = steps(one_shape(motion, "disc").batch(range(32), [0] * 32)[0])
    speed = (way * direction).sum(-1)
    across = (way * direction[::-1]).sum(-1)
    assert speed.min() > 0.05
    assert speed.max() < 0.1
    assert np.ptp(speed, axis=1).max() < 0.01
    assert np.abs(across).max() < 0.01


def test_a_plain_disc_crosses_half_the_frame_and_stays_inside() -> None:
    clips, _ = Shapes(16, 8, 1, **PLAIN).batch(range(64), [0] * 64)
    way = np.abs(steps(clips).sum(axis=1)).max(axis=-1)
    assert way.min() > 0.4
    assert way.max() < 0.8
    assert (np.abs(centres(clips) - 0.5) < 0.42).all()


def test_a_disc_covers_the_area_of_its_circle() -> None:
    area = coverage(one_shape("right", "disc").batch(range(32), [0] * 32)[0]).mean(axis=(2, 3))
    radius = np.sqrt(area / np.pi)
    assert radius.min() > 0.175
    assert radius.max() < 0.225
    # Whatever its place between the pixels, and where it wraps round: anti-aliased.
    assert np.ptp(radius, axis=1).max() < 0.002


def test_rotation_keeps_the_place_and_the_area() -> None:
    clips, _ = one_shape("rotate").batch(range(32), [0] * 32)
    assert np.abs(steps(clips)).max() < 0.01
    assert np.ptp(coverage(clips).mean(axis=(2, 3)), axis=1).max() < 0.005
    assert (np.abs(np.diff(clips.astype(int), axis=1)).max(axis=(2, 3, 4)) > 30).all()


def test_pulsing_keeps_the_place_and_changes_the_area() -> None:
    clips, _ = one_shape("pulse", "disc").batch(range(32), [0] * 32)
    area = coverage(clips).mean(axis=(2, 3))
    assert np.abs(steps(clips)).max() < 0.01
    assert (area.max(axis=1) / area.min(axis=1)).min() > 1.5


def test_an_orbit_is_a_circle_about_the_middle() -> None:
    place = centres(one_shape("orbit", "disc").batch(range(32), [0] * 32)[0]) - 0.5
    radius = np.linalg.norm(place, axis=-1)
    angle = np.unwrap(np.arctan2(place[..., 1], place[..., 0]), axis=1)
    assert np.ptp(radius, axis=1).max() < 0.02
    assert np.ptp(np.diff(angle, axis=1), axis=1).max() < 0.08
    assert {-1, 1} == set(np.sign(np.diff(angle, axis=1)).ravel())


def test_bouncing_stays_inside_and_turns_back() -> None:
    dataset = Shapes(32, 24, 1, **(PLAIN | {"motions": ["bounce"]}))
    clips, _ = dataset.batch(range(16), [0] * 16)
    place = centres(clips)
    assert place.min() > 0.18
    assert place.max() < 0.82
    signs = np.sign(np.diff(place[..., 0], axis=1))
    assert (signs.min(axis=1) == -1).all()
    assert (signs.max(axis=1) == 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_inside_at_its_body_and_outside_beyond_its_radius(shape: str) -> None:
    x, y = np.meshgrid(*[np.linspace(-2, 2, 401, dtype=np.float32)] * 2)
    inside = SHAPES[shape](x, y) > 0
    area, outermost = inside.mean() * 16, np.hypot(x, y)[inside].max()
    expected = {
        "disc": (np.pi, 1.0),
        "square": (1.7**2, 0.85 * 2**0.5),
        "triangle": (3 * 3**0.5 * 0.6**2, 1.2),
        "ring": (np.pi * (1.05**2 - 0.55**2), 1.05),
        # Ten triangles between the middle, a tip at 0.4 / cos 72° and a notch at 0.4 / cos 36°.
        "star": (5 * 0.4**2 * TAN_36 / COS_72, 0.4 / COS_72),
    }[shape]
    assert area == pytest.approx(expected[0], rel=0.02)
    assert outermost == pytest.approx(expected[1], abs=0.03)


def test_plain_discs_have_the_four_colours() -> None:
    clips, _ = Shapes(32, 2, 1, **PLAIN).batch(range(64), [0] * 64)
    seen = {tuple(color) for clip in clips for color in clip.reshape(-1, 3)}
    for name in PLAIN["colors"]:
        assert tuple(int(value * 255 + 0.5) for value in COLORS[name]) in seen
    assert tuple(int(value * 255 + 0.5) for value in PLAIN_BACKGROUND.ravel()) in seen


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"motions": ["rihgt"]}, "unknown name in dataset.motions 'rihgt': did you mean 'right'"),
        ({"shapes": ["disk"]}, "dataset.shapes 'disk': did you mean 'disc'"),
        ({"colors": ["rde"]}, "dataset.colors 'rde'"),
        ({"background": "textur"}, "did you mean 'textured'"),
        ({"motions": []}, "at least one name"),
        ({"shapes": ["disc", "disc"]}, "each once"),
        ({"num_shapes": 0}, "dataset.num_shapes=0"),
        ({"length": 0}, "dataset.length=0"),
        ({"shapes": ["disc", "ring"]}, "'rotate' cannot be seen"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message.replace("(", r"\(")):
        Shapes(16, 8, 1, **options)
