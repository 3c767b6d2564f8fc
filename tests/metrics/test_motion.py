"""Drawn clips of every class are right in everything; what is wrong with a clip is found, and only that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stbench.data.synthetic import Clouds
from stbench.data.synthetic.motions import MOTIONS
from stbench.data.synthetic.shapes import Shapes
from stbench.metrics import motion
from stbench.metrics.motion import MotionJudge, MotionTally
from stbench.records.sections import MotionScores

DISCS: dict[str, Any] = {
    "num_shapes": 1,
    "shapes": ["disc"],
    "motions": ["right", "left", "up", "down"],
    "colors": ["red", "green", "blue", "yellow"],
    "background": "plain",
}
Clips = NDArray[np.uint8]


def drawn(num_clips: int = 16, **options: Any) -> tuple[Shapes, Clips, NDArray[np.int64]]:
    """A dataset of single shapes, and its first clips with their labels."""
    dataset = Shapes(**{"image_size": 16, "num_frames": 8, "frame_stride": 1, **DISCS, **options})
    return dataset, *dataset.batch(range(num_clips), [0] * num_clips)


def scores(dataset: Shapes, clips: Clips, labels: NDArray[np.int64]) -> MotionScores:
    tally = MotionTally(dataset)
    tally.add(clips, labels)
    found = tally.scores()
    assert found is not None
    return found


def shares(found: MotionScores) -> tuple[float, ...]:
    return found.direction, found.speed, found.color, found.shape, found.all


@pytest.mark.parametrize("kind", MOTIONS)
def test_real_clips_of_every_motion_are_right(kind: str) -> None:
    """Among all motions, kinds of shapes and colours, on a textured background."""
    dataset = Shapes(32, 16, 1, num_shapes=1)
    videos = range(MOTIONS.index(kind), 8 * len(MOTIONS), len(MOTIONS))
    clips, labels = dataset.batch(videos, [0] * len(videos))
    assert shares(scores(dataset, clips, labels)) == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_clips_of_the_demo_are_right(stride: int) -> None:
    assert shares(scores(*drawn(64, frame_stride=stride))) == (1, 1, 1, 1, 1)


def test_backwards_is_the_wrong_way_at_the_right_speed() -> None:
    dataset, clips, labels = drawn()
    assert shares(scores(dataset, clips[:, ::-1], labels)) == (0, 1, 1, 1, 0)


def test_the_only_class_there_is_is_not_right_backwards() -> None:
    dataset, clips, labels = drawn(motions=["up"])
    assert shares(scores(dataset, clips[:, ::-1], labels)) == (0, 0, 1, 1, 0)


def test_of_another_class_is_wrong() -> None:
    dataset, clips, labels = drawn()
    assert shares(scores(dataset, clips, (labels + 1) % 4)) == (0, 1, 1, 1, 0)


@pytest.mark.parametrize("order", [[3, 0, 6, 1, 7, 4, 2, 5], [0, 1, 2, 3, 3, 2, 1, 0], [0] * 8])
def test_frames_out_of_order_are_no_motion_of_a_still_shape(order: list[int]) -> None:
    """Shuffled, there and back, at rest: the disc itself stays as it is."""
    dataset, clips, labels = drawn()
    assert shares(scores(dataset, clips[:, order], labels)) == (0, 0, 1, 1, 0)


def test_a_pixel_further_in_every_frame_is_too_fast() -> None:
    dataset, clips, labels = drawn(motions=["right"], image_size=24)
    for frame in range(8):
        clips[:, frame] = np.roll(clips[:, frame], frame, axis=2)
    assert shares(scores(dataset, clips, labels)) == (1, 0, 1, 1, 0)


def test_a_colour_that_changes_is_found() -> None:
    dataset, clips, labels = drawn(colors=["red", "green"])
    clips[:, 4:] = clips[:, 4:][..., [1, 0, 2]]  # red is (0.93, 0.20, 0.20), green (0.20, 0.80, 0.30)
    assert shares(scores(dataset, clips, labels)) == (1, 1, 0, 1, 0)


def test_a_shape_that_changes_is_found() -> None:
    dataset, clips, labels = drawn(shapes=["disc", "ring"], image_size=32)
    for first, second in (("disc", "ring"), ("ring", "disc")):
        before, after = (drawn(image_size=32, shapes=[shape])[1] for shape in (first, second))
        clips = np.concatenate([before[:, :4], after[:, 4:]], axis=1)
        assert shares(scores(dataset, clips, labels)) == (1, 1, 1, 0, 0)


def test_a_shape_that_grows_is_found() -> None:
    dataset, clips, labels = drawn(motions=["pulse"], image_size=32)
    still = Shapes(32, 8, 1, **DISCS | {"motions": ["right"]})
    found = MotionJudge(still).judge(clips, labels)
    assert not found.shape.any()
    assert not found.direction.any()
    assert MotionJudge(dataset).judge(clips, labels).shape.all()


def test_a_shape_at_rest_stays_as_it_is_whatever_fits_it_best() -> None:
    """No motion does, and one that swells comes nearest to some."""
    dataset = Shapes(32, 16, 1, num_shapes=1)
    clips, labels = dataset.batch(range(16), [0] * 16)
    assert scores(dataset, clips[:, :1].repeat(16, axis=1), labels).shape == 1


def test_noise_and_even_frames_are_wrong_in_everything() -> None:
    dataset, clips, labels = drawn()
    noise = np.random.default_rng(0).integers(0, 256, clips.shape, dtype=np.uint8)
    for empty in (noise, np.zeros_like(clips), np.full_like(clips, 255)):
        assert shares(scores(dataset, empty, labels)) == (0, 0, 0, 0, 0)


def test_a_little_noise_and_blur_change_nothing() -> None:
    dataset, clips, labels = drawn()
    noise = np.random.default_rng(0).normal(0, 12, clips.shape)
    blurred = (clips.astype(np.float32) * 2 + np.roll(clips, 1, axis=2) + np.roll(clips, -1, axis=3)) / 4
    assert shares(scores(dataset, np.clip(blurred + noise, 0, 255).astype(np.uint8), labels)) == (1, 1, 1, 1, 1)


def test_a_clip_is_judged_by_itself() -> None:
    dataset, clips, labels = drawn(8)
    clips[::2] = clips[::2, ::-1]
    judge = MotionJudge(dataset)
    together = judge.judge(clips, labels)
    for index in range(len(clips)):
        alone = judge.judge(clips[index : index + 1], labels[index : index + 1])
        for name, verdict in vars(alone).items():
            assert verdict[0] == vars(together)[name][index]


def test_a_tally_takes_batches_and_no_more_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "MOST_CLIPS", 6)
    dataset, clips, labels = drawn(10)
    clips[:2] = clips[:2, ::-1]
    tally = MotionTally(dataset)
    for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
        tally.add(clips[part], labels[part])
    assert tally.scores() == MotionScores(n_clips=6, direction=4 / 6, speed=1, color=1, shape=1, all=4 / 6)


@pytest.mark.parametrize("dataset", [Clouds(16, 4, 1), Shapes(16, 4, 1, num_shapes=2)])
def test_what_cannot_be_judged_has_no_scores(dataset: Clouds | Shapes) -> None:
    tally = MotionTally(dataset)
    tally.add(*dataset.batch(range(2), [0, 0]))
    assert tally.scores() is None
