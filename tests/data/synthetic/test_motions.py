"""Motions are the formulas that their names promise, before anything is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from stbench.data.synthetic.motions import MOTIONS, Draws, Pose, _reflect, at_rest, move
from stbench.data.synthetic.noise import Floats

TIME = np.arange(12, dtype=np.float32)
STILL = {"right": "y", "left": "y", "up": "x", "down": "x"}


def draws(num_videos: int = 40, num_shapes: int = 2, seed: int = 0) -> Draws:
    chance = np.random.default_rng(seed).random((5, num_videos, num_shapes, 1), dtype=np.float32)
    return Draws(*chance)


def steps(way: Floats) -> Floats:
    return np.diff(way, axis=-1)


@pytest.mark.parametrize("name", MOTIONS)
def test_poses_are_single_precision_one_a_frame(name: str) -> None:
    pose = move(name, draws(), TIME)
    assert {each.shape for each in pose} == {(40, 2, 12)}
    assert {each.dtype for each in pose} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", MOTIONS)
def test_a_pose_depends_on_its_own_draws_and_time_alone(name: str) -> None:
    everything, chance = move(name, draws(), TIME), draws()
    alone = move(name, Draws(*(each[3:4] for each in chance)), TIME[5:6])
    for whole, part in zip(everything, alone, strict=True):
        np.testing.assert_array_equal(whole[3:4, :, 5:6], part)


def test_at_rest_nothing_moves() -> None:
    pose = at_rest(draws(), TIME)
    assert all((steps(each) == 0).all() for each in pose)
    assert (pose.scale == 1).all()
    assert pose.x.min() >= 0.3
    assert pose.x.max() <= 0.7


@pytest.mark.parametrize(("name", "axis", "sign"), [("right", 0, 1), ("left", 0, -1), ("down", 1, 1), ("up", 1, -1)])
def test_drifting_goes_one_way_at_the_drawn_speed(name: str, axis: int, sign: int) -> None:
    chance = draws()
    pose = move(name, chance, TIME)
    np.testing.assert_allclose(
        sign * steps(pose[axis]), np.broadcast_to(0.06 + 0.03 * chance.speed, (40, 2, 11)), atol=1e-6
    )
    across = pose[1 - axis]
    assert (steps(across) == 0).all()
    np.testing.assert_array_equal(across[..., :1], chance.across)
    assert (steps(pose.angle) == 0).all()


@pytest.mark.parametrize("name", ["right", "left", "down", "up"])
@pytest.mark.parametrize("num_shapes", [1, 3])
@pytest.mark.parametrize("middle_time", [0.0, 3.5])
def test_a_drift_is_about_the_middle_when_it_should_be(name: str, num_shapes: int, middle_time: float) -> None:
    pose = move(name, draws(num_shapes=num_shapes), np.array([middle_time], dtype=np.float32), middle_time)
    way = {"x": pose.x, "y": pose.y}[{"x": "y", "y": "x"}[STILL[name]]]
    assert np.abs(way - 0.5).max() <= 0.05 * num_shapes


def test_left_is_right_and_up_is_down_in_a_mirror() -> None:
    right, left, up, down = (move(name, draws(), TIME) for name in ("right", "left", "up", "down"))
    np.testing.assert_array_equal(left.x, 1 - right.x)
    np.testing.assert_array_equal(up.y, 1 - down.y)
    np.testing.assert_array_equal(down.y, right.x)


def test_reflection_is_the_identity_inside_and_a_mirror_at_the_walls() -> None:
    way = np.array([0.0, 0.3, 0.6, 0.7, 0.9, 1.2, 1.5, -0.1, -0.6], dtype=np.float32)
    expected = [0.2, 0.5, 0.8, 0.7, 0.5, 0.2, 0.5, 0.3, 0.8]
    np.testing.assert_allclose(_reflect(way), expected, atol=1e-6)


def test_a_bounce_stays_between_the_walls_and_keeps_its_speed_between_them() -> None:
    chance = draws()
    pose = move("bounce", chance, np.arange(60, dtype=np.float32))
    for way in (pose.x, pose.y):
        assert way.min() >= 0.2 - 1e-6
        assert way.max() <= 0.8 + 1e-6
    speed = np.hypot(steps(pose.x), steps(pose.y))
    assert (speed <= 0.12 + 0.06 * chance.speed + 1e-5).all()  # less only where it turns round within a frame
    np.testing.assert_allclose(np.median(speed, axis=-1), (0.12 + 0.06 * chance.speed)[..., 0], atol=1e-4)


def test_rotation_turns_at_the_drawn_speed_and_way() -> None:
    chance = draws()
    pose, sign = move("rotate", chance, TIME), np.where(chance.turn < 0.5, 1, -1)
    np.testing.assert_allclose(
        steps(pose.angle), np.broadcast_to(sign * (0.16 + 0.08 * chance.speed), (40, 2, 11)), atol=1e-5
    )
    assert set(np.unique(sign)) == {-1, 1}
    assert unmoved(pose)


def test_a_pulse_swings_by_two_fifths() -> None:
    pose = move("pulse", draws(), np.arange(200, dtype=np.float32))
    np.testing.assert_allclose(pose.scale.max(axis=-1), 1.4, atol=0.01)
    np.testing.assert_allclose(pose.scale.min(axis=-1), 0.6, atol=0.01)
    assert unmoved(pose)
    assert (steps(pose.angle) == 0).all()


def test_an_orbit_is_a_circle_about_the_middle() -> None:
    chance = draws()
    pose = move("orbit", chance, TIME)
    radius = np.hypot(pose.x - 0.5, pose.y - 0.5)
    np.testing.assert_allclose(radius, np.broadcast_to(0.24 + 0.06 * chance.along, radius.shape), atol=1e-6)
    turned = steps(np.unwrap(np.arctan2(pose.y - 0.5, pose.x - 0.5)))
    sign = np.where(chance.turn < 0.5, 1, -1)
    np.testing.assert_allclose(turned, np.broadcast_to(sign * (0.3 + 0.1 * chance.speed), turned.shape), atol=1e-4)


def unmoved(pose: Pose) -> bool:
    return bool((steps(pose.x) == 0).all() and (steps(pose.y) == 0).all())


def test_a_motion_that_is_none_goes_nowhere() -> None:
    chance = np.full((1, 1, 1), 0.5, np.float32)
    with pytest.raises(KeyError, match="zigzag"):
        move("zigzag", Draws(*[chance] * 5), np.zeros((1, 1, 2), np.float32))
