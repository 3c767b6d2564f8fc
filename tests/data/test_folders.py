"""The layouts of folders: what each finds, how it labels, and what it says where it finds something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stbench.data import scanning
from stbench.data.folders import UCF101, SkyTimelapse, VideoFolder
from stbench.data.scanning import FolderDataset
from stbench.data.video import read_frames
from stbench.errors import StbenchError

WriteVideo = Callable[..., Path]
Build = Callable[..., FolderDataset]
DATASETS: list[type[FolderDataset]] = [UCF101, SkyTimelapse, VideoFolder]


@pytest.fixture
def ucf(tmp_path: Path, write_video: WriteVideo) -> Path:
    """Two classes with the spellings of the official folders, three videos, one list."""
    write_video("UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi", num_frames=12)
    write_video("UCF-101/Archery/v_Archery_g01_c02.avi", num_frames=10)
    write_video("UCF-101/Archery/v_Archery_g01_c01.avi", num_frames=14)
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text(
        "Archery/v_Archery_g01_c02.avi 1\r\nHandStandPushups/v_HandStandPushups_g01_c01.avi 2\r\n\r\n"
    )
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\nArchery/v_Archery_g09_c09.avi\n")
    return tmp_path / "UCF-101"


@pytest.fixture
def sky(tmp_path: Path, write_images: WriteVideo) -> Path:
    write_images("sky/sky_train/b/b_2", num_frames=9, suffix="jpg")
    write_images("sky/sky_train/b/b_1", num_frames=8, suffix="jpg")
    write_images("sky/sky_train/a/a_1", num_frames=4, suffix="jpg")
    write_images("sky/sky_test/c/c_1", num_frames=8, suffix="jpg")
    return tmp_path / "sky"


def ids(dataset: FolderDataset) -> list[str]:
    return [dataset.video_id(index) for index in range(len(dataset))]


def test_ucf_labels_are_sorted_classes(ucf: Path) -> None:
    dataset = UCF101(16, 8, 1, root=str(ucf))
    assert dataset.class_names == ("Archery", "HandstandPushups")
    assert ids(dataset) == [
        "Archery/v_Archery_g01_c01.avi",
        "Archery/v_Archery_g01_c02.avi",
        "HandstandPushups/v_HandStandPushups_g01_c01.avi",
    ]
    assert dataset.batch([0, 1, 2], [0, 0, 0])[1].tolist() == [0, 0, 1]


def test_ucf_split_list_is_read_whatever_the_spelling(ucf: Path) -> None:
    dataset = UCF101(16, 8, 1, root=str(ucf), split="train01")
    assert ids(dataset) == ["Archery/v_Archery_g01_c02.avi", "HandstandPushups/v_HandStandPushups_g01_c01.avi"]
    assert dataset.class_names == ("Archery", "HandstandPushups")
    assert [dataset.clip(index, 0).label for index in range(2)] == [0, 1]


def test_ucf_videos_that_only_the_list_knows_are_broken(ucf: Path) -> None:
    with pytest.raises(StbenchError, match=r"1 of 2 videos cannot be read.*v_Archery_g09_c09.avi \(is not there\)"):
        UCF101(16, 8, 1, root=str(ucf), split="test01")
    dataset = UCF101(16, 8, 1, root=str(ucf), split="test01", max_broken=0.5)
    assert ids(dataset) == ["Archery/v_Archery_g01_c01.avi"]
    assert [video.video_id for video in dataset.dropped] == ["Archery/v_Archery_g09_c09.avi"]


def test_the_test_split_validates_the_training_split(ucf: Path, sky: Path) -> None:
    training = UCF101(16, 8, 1, root=str(ucf), split="train01", seed=5, max_broken=0.5)
    held_out = training.validation_set(9)
    assert ids(held_out) == ["Archery/v_Archery_g01_c01.avi"]
    assert (held_out.seed, held_out.class_names) == (0, training.class_names)
    assert ids(SkyTimelapse(16, 8, 1, root=str(sky), seed=5).validation_set(9)) == ["sky_test/c/c_1"]


def test_where_there_is_no_test_split_nothing_is_held_out_unless_asked(ucf: Path, sky: Path) -> None:
    no_split = [
        UCF101(16, 8, 1, root=str(ucf)),
        SkyTimelapse(16, 8, 1, root=str(sky), split="test"),
        VideoFolder(16, 8, 1, root=str(ucf)),
    ]
    for dataset in no_split:
        expected = f"no videos of {dataset.name} are held out of training: dataset.held_out=... keeps that many from it"
        with pytest.raises(StbenchError, match=expected):
            dataset.validation_set(1)
    (ucf.parent / "ucfTrainTestlist" / "testlist01.txt").unlink()
    with pytest.raises(StbenchError, match=r"dataset\.split=test01 needs the official list"):
        UCF101(16, 8, 1, root=str(ucf), split="train01").validation_set(1)


def test_sky_videos_are_clip_folders(sky: Path) -> None:
    dataset = SkyTimelapse(8, 4, 2, root=str(sky))
    assert ids(dataset) == ["sky_train/b/b_1", "sky_train/b/b_2"]
    assert dataset.num_classes == 0
    assert [(video.video_id, video.reason) for video in dataset.dropped] == [
        ("sky_train/a/a_1", "shorter than a clip, 7 frames")
    ]
    assert ids(SkyTimelapse(8, 4, 2, root=str(sky), split="test")) == ["sky_test/c/c_1"]
    assert len(SkyTimelapse(8, 4, 2, root=str(sky), split="all")) == 3


@pytest.mark.parametrize("empty", ["sky_train/z6Yr7KDZhm0", "sky_train/a/a_9"])
def test_sky_empty_folder_is_listed(sky: Path, empty: str) -> None:
    (sky / empty).mkdir()
    dataset = SkyTimelapse(8, 4, 1, root=str(sky), max_broken=0.3)
    assert [(video.video_id, video.reason) for video in dataset.dropped] == [(empty, "has no frames")]
    with pytest.raises(StbenchError, match=r"1 of 4 videos cannot be read.*has no frames"):
        SkyTimelapse(8, 4, 1, root=str(sky))


def test_video_folder_finds_files_and_frame_folders(
    tmp_path: Path, write_video: WriteVideo, write_images: WriteVideo
) -> None:
    write_video("mine/beach/deep/waves.mp4", "libx264")
    write_video("mine/beach/foam.gif", "gif")
    write_images("mine/city/night")
    write_video("mine/.cache/hidden.avi")
    (tmp_path / "mine" / "city" / "night" / "._frame_1.png").write_bytes(b"not an image")
    (tmp_path / "mine" / "notes.txt").write_text("not a video")
    dataset = VideoFolder(16, 8, 1, root=str(tmp_path / "mine"))
    assert ids(dataset) == ["beach/deep/waves.mp4", "beach/foam.gif", "city/night"]
    assert dataset.num_classes == 0
    labelled = VideoFolder(16, 8, 1, root=str(tmp_path / "mine"), labels="folder")
    assert labelled.class_names == ("beach", "city")
    assert labelled.batch([0, 1, 2], [0, 0, 0])[1].tolist() == [0, 0, 1]


def test_video_folder_needs_a_folder_for_every_label(tmp_path: Path, write_video: WriteVideo) -> None:
    write_video("loose.avi")
    with pytest.raises(StbenchError, match=r"loose\.avi lies in no class folder"):
        VideoFolder(16, 8, 1, root=str(tmp_path), labels="folder")


@pytest.mark.parametrize("stride", [1, 2])
def test_a_clip_is_consecutive_frames_at_the_stride(tmp_path: Path, write_video: WriteVideo, stride: int) -> None:
    path = write_video("only.avi", num_frames=20)
    full = read_frames(path, range(20), 16)
    dataset = VideoFolder(16, 5, stride, root=str(tmp_path), seed=3)
    starts = set()
    for draw in range(40):
        frames = dataset.clip(0, draw).frames
        start = next(index for index in range(20) if np.array_equal(full[index], frames[0]))
        assert np.array_equal(frames, full[start : start + 5 * stride : stride])
        starts.add(start)
    last = 20 - ((5 - 1) * stride + 1)
    assert min(starts) == 0
    assert max(starts) == last


def test_clips_depend_on_seed_and_draw_alone(tmp_path: Path, write_video: WriteVideo) -> None:
    write_video("one.avi", num_frames=40)
    same, again, other = (VideoFolder(16, 2, 1, root=str(tmp_path), seed=seed) for seed in (0, 0, 1))
    draws = [same.clip(0, draw).frames.tobytes() for draw in range(6)]
    assert draws == [again.clip(0, draw).frames.tobytes() for draw in range(6)]
    assert draws != [other.clip(0, draw).frames.tobytes() for draw in range(6)]
    assert len(set(draws)) > 3


def test_a_video_of_exactly_the_span_is_used(tmp_path: Path, write_video: WriteVideo) -> None:
    write_video("exact.avi", num_frames=7)
    write_video("short.avi", num_frames=6)
    dataset = VideoFolder(16, 4, 2, root=str(tmp_path))
    assert ids(dataset) == ["exact.avi"]
    assert dataset.describe().dropped_by_reason == {"shorter than a clip, 7 frames": 1}


def test_broken_files_are_listed_below_the_threshold_and_refused_above(tmp_path: Path, write_video: WriteVideo) -> None:
    write_video("good.avi")
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    dataset = VideoFolder(16, 4, 1, root=str(tmp_path), max_broken=0.5)
    assert ids(dataset) == ["good.avi"]
    assert dataset.dropped[0].video_id == "bad.mp4"
    assert dataset.dropped[0].reason.startswith("unreadable (")
    with pytest.raises(
        StbenchError, match=r"1 of 2 videos cannot be read, more than dataset\.max_broken=0\.05.*bad\.mp4"
    ):
        VideoFolder(16, 4, 1, root=str(tmp_path))


def test_frames_that_are_missing_later_are_told_with_a_remedy(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video("cut.avi", num_frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    dataset = VideoFolder(16, 40, 1, root=str(tmp_path))
    with pytest.raises(
        StbenchError, match=r"cut\.avi: frame \d+ is not there.*40 frames are declared: dataset\.probe=decode"
    ):
        dataset.clip(0, 0)
    exact = VideoFolder(16, 4, 1, root=str(tmp_path), probe="decode")
    for draw in range(10):
        assert exact.clip(0, draw).frames.shape == (4, 16, 16, 3)


def test_manifest_is_content_not_place(tmp_path: Path, ucf: Path) -> None:
    here = UCF101(16, 8, 1, root=str(ucf)).describe()
    shutil.copytree(ucf, tmp_path / "elsewhere")
    there = UCF101(32, 4, 2, root=str(tmp_path / "elsewhere"), seed=1).describe()
    assert json.loads(json.dumps(asdict(here))) == asdict(here) | {"class_names": list(here.class_names)}
    assert there.manifest_sha256 == here.manifest_sha256
    assert (here.root, here.probe, here.resize) == (str(ucf), "metadata", "crop-resize-lanczos")
    (tmp_path / "elsewhere" / "Archery" / "v_Archery_g01_c01.avi").unlink()
    fewer = UCF101(16, 8, 1, root=str(tmp_path / "elsewhere")).describe()
    assert fewer.manifest_sha256 != here.manifest_sha256


def test_many_videos_show_progress(
    ucf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scanning, "_PROGRESS_FROM_VIDEOS", 2)
    assert len(UCF101(16, 8, 1, root=str(ucf))) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "scanning ucf101" in captured.err


@pytest.mark.parametrize("build", DATASETS)
def test_no_root_says_what_and_where_from(build: Build) -> None:
    with pytest.raises(StbenchError, match=r"needs its folder, dataset\.root=\.\.\.: expected .*, as in .*get it from"):
        build(16, 8, 1)


@pytest.mark.parametrize("build", DATASETS)
def test_missing_and_empty_roots_are_refused(build: Build, tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match=r"nowhere does not exist: .* expects .*, as in"):
        build(16, 8, 1, root=str(tmp_path / "nowhere"))
    with pytest.raises(StbenchError, match=r"found an empty folder; .* expects .*, as in"):
        build(16, 8, 1, root=str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(StbenchError, match="is not a folder"):
        build(16, 8, 1, root=str(tmp_path / "file"))


@pytest.mark.parametrize("build", DATASETS)
def test_an_archive_is_not_a_dataset(build: Build, tmp_path: Path) -> None:
    (tmp_path / "UCF101.rar").write_bytes(b"Rar!")
    with pytest.raises(StbenchError, match=r"found 1 archive \(UCF101\.rar\); .* expects"):
        build(16, 8, 1, root=str(tmp_path))


@pytest.mark.parametrize(
    ("build", "files", "message"),
    [
        (
            UCF101,
            ["v_Archery_g01_c01.avi", "v_Archery_g01_c02.avi"],
            r"found 2 videos \(v_Arch.*UCF-101/Apply.*move every video",
        ),
        (
            UCF101,
            ["UCF-101/Archery/v_Archery_g01_c01.avi"],
            r"found 1 folder \(UCF-101\).*try dataset\.root=.*/UCF-101$",
        ),
        (UCF101, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], r"found 4 images \(a\.jpg, b\.jpg, c\.jpg, \.\.\.\)"),
        (UCF101, ["readme"], "found only readme"),
        (SkyTimelapse, ["a.mp4"], "found 1 video .*it holds video files: take dataset=video_folder"),
        (SkyTimelapse, ["sky_train/a/a_1.mp4"], "sky_train/a/a_1.mp4 is a video file: take dataset=video_folder"),
        (SkyTimelapse, ["sky_train/a/1.jpg"], "sky_train/a/1.jpg lies at depth 1 below sky_train, not 2"),
        (SkyTimelapse, ["sky_train/x/a/a_1/1.jpg"], "sky_train/x/a/a_1/1.jpg lies at depth 3 below sky_train, not 2"),
        (SkyTimelapse, ["sky/sky_train/a/a_1/1.jpg"], r"try dataset\.root=.*/sky$"),
        (SkyTimelapse, ["sky_test/a/a_1/1.jpg"], "sky_train is not there"),
        (VideoFolder, ["readme.txt"], "found only readme.txt"),
    ],
)
def test_wrong_layouts_say_what_was_found_and_expected(
    tmp_path: Path, build: Build, files: list[str], message: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(StbenchError, match=message) as caught:
        build(16, 8, 1, root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_sky_root_one_folder_too_deep(sky: Path) -> None:
    with pytest.raises(StbenchError, match=rf"try dataset\.root={sky}$"):
        SkyTimelapse(8, 4, 1, root=str(sky / "sky_train"))


def test_ucf_split_without_lists(ucf: Path) -> None:
    shutil.rmtree(ucf.parent / "ucfTrainTestlist")
    with pytest.raises(StbenchError, match=r"dataset\.split=test02 needs the official list.*testlist02\.txt"):
        UCF101(16, 8, 1, root=str(ucf), split="test02")


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (UCF101, {"split": "train1"}, "unknown dataset.split 'train1': did you mean 'train01'"),
        (UCF101, {"probe": "meta"}, "unknown dataset.probe 'meta': did you mean 'metadata'"),
        (SkyTimelapse, {"split": "sky_train"}, "unknown dataset.split 'sky_train'"),
        (VideoFolder, {"labels": "folders"}, "unknown dataset.labels 'folders': did you mean 'folder'"),
    ],
)
def test_unknown_choices_are_refused(ucf: Path, build: Build, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message):
        build(16, 8, 1, root=str(ucf), **options)


def test_nothing_long_enough_says_so(ucf: Path) -> None:
    with pytest.raises(
        StbenchError, match=r"none of 3 videos can be used: 3 shorter than a clip, 46 frames.*num_frames=16"
    ):
        UCF101(16, 16, 3, root=str(ucf))


def test_real_layouts(shared_clips: Path) -> None:
    cricket = UCF101(32, 16, 3, root=str(shared_clips / "UCF-101"))
    assert cricket.class_names == ("CricketShot",)
    assert cricket.clip(0, 0).frames.shape == (16, 32, 32, 3)
    sunset = SkyTimelapse(32, 16, 1, root=str(shared_clips / "sky_timelapse"))
    # Sky: blue or orange above, and little change from one frame to the next.
    frames = sunset.clip(0, 0).frames.astype(float)
    assert 0 < np.abs(np.diff(frames, axis=0)).mean() < 15
    everything = VideoFolder(32, 16, 3, root=str(shared_clips), labels="folder")
    assert everything.class_names == ("UCF-101", "sky_timelapse", "videos")
    assert len(everything) == 3
    assert everything.describe().dropped_by_reason == {"shorter than a clip, 46 frames": 2}
