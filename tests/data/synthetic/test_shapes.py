from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from stbench.data.synthetic.clouds import Clouds
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
DATASETS = {
    "textured": lambda size, frames, stride, **more: Shapes(size, frames, stride, **more),
    "plain": lambda size, frames, stride, **more: Shapes(size, frames, stride, **PLAIN, **more),
    "clouds": lambda size, frames, stride, **more: Clouds(size, frames, stride, **more),
}


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


@pytest.mark.parametrize("name", DATASETS)
def test_a_batch_is_its_clips(name: str) -> None:
    dataset = DATASETS[name](16, 4, 2)
    clips, labels = dataset.batch([5, 9998, 3], [0, 1, 2])
    assert clips.shape == (3, 4, 16, 16, 3)
    assert clips.dtype == np.uint8
    assert labels.dtype == np.int64
    for place, index in enumerate([5, 9998, 3]):
        clip = dataset.clip(index, 7)
        assert np.array_equal(clip.frames, clips[place])
        assert clip.label == labels[place]


@pytest.mark.parametrize("name", DATASETS)
def test_a_large_batch_is_drawn_in_parts(name: str) -> None:
    dataset = DATASETS[name](64, 16, 1)
    clips, _ = dataset.batch(range(5), [0] * 5)
    assert np.array_equal(clips[4], dataset.clip(4, 0).frames)


@pytest.mark.parametrize("name", DATASETS)
def test_time_advances_by_the_stride(name: str) -> None:
    indices = range(12)
    every, _ = DATASETS[name](16, 13, 1).batch(indices, [0] * 12)
    third, _ = DATASETS[name](16, 5, 3).batch(indices, [0] * 12)
    assert np.array_equal(third, every[:, ::3])


@pytest.mark.parametrize("name", DATASETS)
def test_a_higher_resolution_shows_the_same(name: str) -> None:
    fine, _ = DATASETS[name](64, 4, 2).batch(range(16), [0] * 16)
    coarse, _ = DATASETS[name](32, 4, 2).batch(range(16), [0] * 16)
    blurred = fine.reshape(16, 4, 32, 2, 32, 2, 3).mean(axis=(3, 5))
    assert np.abs(blurred - coarse).mean() < 2
    still = np.abs(coarse[:, :1].astype(float) - coarse).mean()
    assert np.abs(blurred - coarse).mean() < still / 5


@pytest.mark.parametrize("name", DATASETS)
def test_every_clip_moves_and_none_is_like_another(name: str) -> None:
    clips, _ = DATASETS[name](16, 8, 1).batch(range(64), [0] * 64)
    assert (np.abs(np.diff(clips.astype(int), axis=1)).max(axis=(2, 3, 4)) > 0).all()
    assert len({clip.tobytes() for clip in clips}) == 64


@pytest.mark.parametrize("name", DATASETS)
def test_another_seed_gives_other_videos(name: str) -> None:
    one, other = DATASETS[name](16, 4, 1), DATASETS[name](16, 4, 1, seed=1)
    assert not np.array_equal(one.clip(0, 0).frames, other.clip(0, 0).frames)
    assert one.describe()["manifest_sha256"] != other.describe()["manifest_sha256"]


@pytest.mark.parametrize("name", DATASETS)
def test_content_does_not_depend_on_how_it_is_cut(name: str) -> None:
    hashes = {DATASETS[name](size, frames, 1).describe()["manifest_sha256"] for size, frames in [(16, 8), (64, 16)]}
    assert len(hashes) == 1


@pytest.mark.parametrize("name", DATASETS)
def test_an_index_beyond_the_end_is_refused(name: str) -> None:
    with pytest.raises(IndexError, match="video 3 of 3"):
        DATASETS[name](16, 4, 1, length=3).clip(3, 0)


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


def test_drawing_is_in_single_precision() -> None:
    for dataset in (Shapes(16, 2, 1), Clouds(16, 2, 1)):
        assert dataset._draw(np.arange(8)).dtype == np.float32


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


@pytest.mark.parametrize("preset", ["smoke", "demo"])
@pytest.mark.parametrize(("name", "num_classes"), [("shapes", 4), ("clouds", 0)])
def test_small_presets_are_8_frames_of_16_pixels(repository: Path, name: str, num_classes: int, preset: str) -> None:
    settings = yaml.safe_load((repository / "datasets" / f"{name}.yaml").read_text())
    options = {key: value for key, value in settings.items() if key not in ("dataset", "source", "presets")}
    dataset = {"shapes": Shapes, "clouds": Clouds}[name](**(options | settings["presets"][preset]))
    assert dataset.clip(0, 0).frames.shape == (8, 16, 16, 3)
    assert dataset.num_classes == num_classes


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("textured", [[61.3, 57.3, 72.77], [85.31, 100.94, 85.36]]),
        ("plain", [[28.58, 44.46, 37.56], [29.61, 35.83, 59.37]]),
        ("clouds", [[115.97, 122.54, 159.66], [153.94, 175.63, 211.12]]),
    ],
)
def test_the_generators_are_the_ones_their_content_names(name: str, means: list[list[float]]) -> None:
    # Recorded; when a drawing changes on purpose, the version in `content` must change with these means.
    clips, _ = DATASETS[name](16, 4, 1).batch(range(2), [0] * 2)
    assert np.abs(clips[:, 0].mean(axis=(1, 2)) - means).max() < 0.1
