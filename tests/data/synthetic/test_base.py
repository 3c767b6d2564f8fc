"""What holds for every dataset of drawn videos: the same clip in any batch, at any stride, at any resolution."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stbench.data.synthetic.base import to_uint8
from stbench.data.synthetic.clouds import Clouds
from stbench.data.synthetic.shapes import Shapes
from stbench.errors import StbenchError
from stbench.settings.components import load_component, signature_parameters

PLAIN: dict[str, Any] = {
    "num_shapes": 1,
    "shapes": ["disc"],
    "motions": ["right", "left", "up", "down"],
    "colors": ["red", "green", "blue", "yellow"],
    "background": "plain",
}
DATASETS = {
    "textured": lambda size, frames, stride, **more: Shapes(size, frames, stride, **more),
    "plain": lambda size, frames, stride, **more: Shapes(size, frames, stride, **PLAIN, **more),
    "clouds": lambda size, frames, stride, **more: Clouds(size, frames, stride, **more),
}


def test_values_are_rounded_clamped_and_put_last() -> None:
    canvas = np.array([-0.5, 0.0, 0.1, 127.4 / 255, 127.6 / 255, 1.0, 1.7], dtype=np.float32)
    drawn = to_uint8(np.stack([canvas, canvas, 1 - canvas]).reshape(3, 1, 1, 1, 7))
    assert drawn.shape == (1, 1, 1, 7, 3)
    assert drawn.flags.c_contiguous
    assert drawn[0, 0, 0, :, 0].tolist() == [0, 0, 26, 127, 128, 255, 255]
    assert drawn[0, 0, 0, :, 2].tolist() == [255, 255, 230, 128, 127, 0, 0]


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
def test_the_validation_set_is_of_no_training_seed_and_the_same_for_all(name: str) -> None:
    videos = DATASETS[name](16, 4, 1, length=400).validation_set(40)
    of_another = DATASETS[name](16, 4, 1, length=9, seed=3).validation_set(40)
    assert videos.describe() == of_another.describe()
    assert (len(videos), videos.class_names) == (40, DATASETS[name](16, 4, 1).class_names)
    clips, labels = videos.batch(range(40), [0] * 40)
    assert np.array_equal(of_another.batch(range(40), [0] * 40)[0], clips)
    assert labels.tolist() == [index % max(1, videos.num_classes) for index in range(40)]
    trained_on, _ = DATASETS[name](16, 4, 1, length=400).batch(range(400), [0] * 400)
    apart = np.abs(trained_on[:, None].astype(int) - clips[None]).max(axis=(2, 3, 4, 5))
    assert apart.min() > 2
    with pytest.raises(StbenchError, match="draws the videos that are held out for validation"):
        videos.validation_set(40)


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
    assert one.describe().manifest_sha256 != other.describe().manifest_sha256


@pytest.mark.parametrize("name", DATASETS)
def test_content_does_not_depend_on_how_it_is_cut(name: str) -> None:
    hashes = {DATASETS[name](size, frames, 1).describe().manifest_sha256 for size, frames in [(16, 8), (64, 16)]}
    assert len(hashes) == 1


@pytest.mark.parametrize("name", DATASETS)
def test_an_index_beyond_the_end_is_refused(name: str) -> None:
    with pytest.raises(IndexError, match="video 3 of 3"):
        DATASETS[name](16, 4, 1, length=3).clip(3, 0)


def test_drawing_is_in_single_precision() -> None:
    for dataset in (Shapes(16, 2, 1), Clouds(16, 2, 1)):
        assert dataset._draw(np.arange(8)).dtype == np.float32


@pytest.mark.parametrize("name", DATASETS)
def test_every_draw_is_the_same_and_names_its_video(name: str) -> None:
    dataset = DATASETS[name](16, 2, 1)
    first, second = dataset.clip(7, 0), dataset.clip(7, 3)
    assert np.array_equal(first.frames, second.frames)
    assert first.video_id == dataset.video_id(7) == f"{type(dataset).__name__.lower()}-000007"


@pytest.mark.parametrize("name", ["shapes", "clouds"])
def test_every_argument_shows_in_the_signature_with_its_default(name: str) -> None:
    known = signature_parameters(load_component("dataset", name))
    assert list(known)[:5] == ["image_size", "num_frames", "frame_stride", "seed", "length"]
    assert [each.default for each in known.values()][:5] == [*[inspect.Parameter.empty] * 3, 0, 10000]
    assert set(known) - {"image_size", "num_frames", "frame_stride", "seed", "length"} == (
        {"num_shapes", "shapes", "motions", "colors", "background", "middle_time"} if name == "shapes" else set()
    )


def test_a_dataset_without_videos_is_refused() -> None:
    with pytest.raises(StbenchError, match=r"^dataset\.length=0: expected a whole number, at least 1$"):
        Clouds(16, 2, 1, length=0)


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
