"""One look through a folder: what it finds, who shares it, and which videos a dataset takes from it."""

from __future__ import annotations

import inspect
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stbench.data import scanning
from stbench.data.clips import Dropped, clip_start
from stbench.data.folders import VideoFolder
from stbench.data.scanning import Video, examine, files_below, folders_in, manifest
from stbench.data.video import count_frames, read_frames
from stbench.errors import StbenchError
from stbench.settings.components import Component, load_component, signature_parameters
from stbench.storage.hashing import sampled_sha256, sha256_of

WriteVideo = Callable[..., Path]


def video(video_id: str, size_bytes: int, num_frames: int, sample_sha256: str = "c0ffee") -> Video:
    return Video(video_id, Path(video_id), 0, size_bytes, num_frames, sample_sha256)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every video whose frames were counted, in order."""
    counted: list[Path] = []

    def count(path: Path, probe: str = "metadata") -> int:
        counted.append(path)
        return count_frames(path, probe)

    monkeypatch.setattr(scanning, "count_frames", count)
    return counted


@pytest.fixture
def three(tmp_path: Path, write_images: WriteVideo) -> Path:
    """Folders of 5, 9 and 20 images."""
    for name, num_frames in (("a", 5), ("b", 9), ("c", 20)):
        write_images(f"three/{name}", num_frames=num_frames)
    return tmp_path / "three"


# ---- the manifest ----------------------------------------------------------------------------------------------------


def test_order_of_finding_does_not_matter() -> None:
    one, two = video("a/1.avi", 10, 3), video("b/2.avi", 20, 4)
    assert manifest((two, one)) == manifest((one, two)) == [["a/1.avi", 10, 3, "c0ffee"], ["b/2.avi", 20, 4, "c0ffee"]]


def test_any_change_changes_the_hash() -> None:
    same = video("a", 1, 1)
    others = [video("a", 1, 2), video("a", 2, 1), video("b", 1, 1), video("a", 1, 1, "beef")]
    assert len({sha256_of(manifest((each,))) for each in (same, *others)}) == 5


def test_neither_label_nor_place_is_part_of_the_manifest() -> None:
    here, there = Video("a", Path("/x/a"), 0, 1, 2), Video("a", Path("/y/a"), 3, 1, 2)
    assert manifest((here,)) == manifest((there,))


# ---- one video -------------------------------------------------------------------------------------------------------


def test_a_file_is_examined(write_video: WriteVideo) -> None:
    path = write_video("clip.avi", num_frames=12)
    expected = Video("clip.avi", path, 4, path.stat().st_size, 12, sampled_sha256(path))
    assert examine(path, "clip.avi", 4, "metadata") == expected


def test_a_folder_counts_its_images_and_nothing_else(write_images: WriteVideo) -> None:
    folder = write_images("frames", num_frames=3)
    (folder / "notes.txt").write_text("not an image")
    (folder / "._frame_0.png").write_bytes(b"left behind by macOS")
    size = sum((folder / f"frame_{index}.png").stat().st_size for index in range(3))
    found = examine(folder, "frames", 0, "decode")
    assert (found.size_bytes, found.num_frames, found.fault) == (size, 3, None)
    (folder / "notes.txt").write_text("still not an image")
    assert examine(folder, "frames", 0, "decode") == found


@pytest.mark.parametrize(("content", "fault"), [(None, "is not there"), (b"", "empty (0 bytes)")])
def test_what_cannot_be_read_has_a_fault_and_no_frames(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    assert examine(path, "bad.mp4", 0, "metadata") == Video("bad.mp4", path, 0, 0, 0, fault=fault)


def test_raw_videos_of_equal_names_and_sizes_are_told_apart_by_their_pixels(
    write_video: WriteVideo, write_images: WriteVideo
) -> None:
    """Two sets of uncompressed videos shared one hash, and every protocol hash with it."""
    raw, images = write_video("clip.avi", codec="rawvideo"), write_images("images", num_frames=5)
    for path, changed in ((raw, raw), (images, images / "frame_2.png")):
        before = examine(path, "a", 0, "metadata")
        content = changed.read_bytes()
        half = len(content) // 2
        changed.write_bytes(content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :])
        after = examine(path, "a", 0, "metadata")
        assert (after.size_bytes, after.num_frames, after.fault) == (before.size_bytes, before.num_frames, None)
        assert manifest((after,)) != manifest((before,))


def test_names_and_sizes_of_all_images_are_part_of_the_manifest(write_images: WriteVideo) -> None:
    folder = write_images("images", num_frames=9)
    samples = {examine(folder, "a", 0, "metadata").sample_sha256}
    first, second = folder / "frame_1.png", folder / "frame_2.png"  # neither the first, the middle nor the last
    first.write_bytes(first.read_bytes() + b"longer")
    samples.add(examine(folder, "a", 0, "metadata").sample_sha256)
    second.rename(folder / "frame_2b.png")
    samples.add(examine(folder, "a", 0, "metadata").sample_sha256)
    assert len(samples) == 3


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a/x/3.txt", ".git/config", "__MACOSX/4.txt", "a/.hidden", "0.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in folders_in(tmp_path)] == ["a", "b"]
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert found == ["0.txt", "a/x/3.txt", "b/1.txt", "b/2.txt"]


def test_linked_folders_are_followed_once_each_way(tmp_path: Path) -> None:
    """Also a folder that is linked twice, and none that is linked below itself."""
    (tmp_path / "set" / "own").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("set/own/1.txt", "elsewhere/2.txt"):
        (tmp_path / name).touch()
    for name in ("linked", "own/again"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "set")
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path / "set")]
    assert found == ["set/linked/2.txt", "set/own/1.txt", "set/own/again/2.txt"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(scanning.os, "scandir", refuse)
    with pytest.raises(StbenchError, match=rf"^{tmp_path} cannot be listed: Permission denied$"):
        list(files_below(tmp_path))


def test_a_name_that_is_not_utf8_is_readable_and_its_own(tmp_path: Path, three: Path) -> None:
    (three / "a").rename(three / os.fsdecode(b"caf\xe9"))
    (three / "b").rename(three / os.fsdecode(b"caf\xe8"))
    dataset = VideoFolder(8, 3, 1, root=str(three), labels="none")
    assert [dataset.video_id(index) for index in range(3)] == ["c", "caf\\xe8", "caf\\xe9"]
    assert dataset.clip(1, 0).frames.shape == (3, 8, 8, 3)
    json.dumps(dataset.content(), ensure_ascii=False).encode()


# ---- one scan for several datasets -----------------------------------------------------------------------------------


def test_the_broken_are_those_with_a_fault(three: Path) -> None:
    (three / "bad.mp4").write_bytes(b"")
    dataset = VideoFolder(8, 3, 1, root=str(three), max_broken=0.25)
    assert [(video.video_id, video.fault) for video in dataset.videos if video.fault] == [
        ("bad.mp4", "empty (0 bytes)")
    ]
    assert dataset.dropped == [Dropped("bad.mp4", "empty (0 bytes)")]
    assert len(dataset) == 3


def test_another_reading_shares_the_scan(three: Path, looked_at: list[Path]) -> None:
    dense = VideoFolder(8, 3, 1, root=str(three), seed=2)
    assert [path.name for path in looked_at] == ["a", "b", "c"]
    sparse = dense.with_reading(frame_stride=4, spatial_rule="resize-crop-lanczos", seed=2)
    assert len(looked_at) == 3
    assert sparse.videos is dense.videos
    assert sparse.describe().manifest_sha256 == dense.describe().manifest_sha256


def test_another_reading_is_what_the_constructor_would_have_made(three: Path) -> None:
    root = str(three.parent)  # so that the class of all three is "three"
    made = VideoFolder(8, 3, 4, root=root, seed=2, spatial_rule="resize-crop-lanczos", labels="folder")
    dense = VideoFolder(8, 3, 1, root=root, seed=5, labels="folder")
    sparse = dense.with_reading(frame_stride=4, spatial_rule="resize-crop-lanczos", seed=2)
    assert type(sparse) is VideoFolder
    assert sparse.describe() == made.describe()
    assert (sparse.rule, sparse.dropped, sparse.class_names) == (made.rule, made.dropped, made.class_names)
    for index in range(len(made)):
        assert np.array_equal(sparse.clip(index, 1).frames, made.clip(index, 1).frames)
        assert sparse.clip(index, 1).label == made.clip(index, 1).label


def test_another_reading_leaves_the_first_as_it_was(three: Path) -> None:
    dense = VideoFolder(8, 3, 1, root=str(three))
    before = dense.clip(0, 0).frames
    sparse = dense.with_reading(frame_stride=4, spatial_rule=dense.spatial_rule, seed=0)
    assert [len(dense), len(sparse)] == [3, 2]
    assert (dense.dropped, sparse.dropped) == ([], [Dropped("a", "shorter than a clip, 9 frames")])
    assert np.array_equal(dense.clip(0, 0).frames, before)


def test_the_same_reading_is_the_same_dataset(three: Path) -> None:
    dataset = VideoFolder(8, 3, 1, root=str(three))
    assert dataset.with_reading(frame_stride=1, spatial_rule="crop-resize-lanczos", seed=0) is dataset


@pytest.mark.parametrize("held_out", [1, 2])
def test_videos_that_are_held_out_are_not_trained_on(held_out: int, three: Path, looked_at: list[Path]) -> None:
    dataset = VideoFolder(8, 3, 1, root=str(three), seed=5, held_out=held_out)
    apart = dataset.validation_set(9)
    trained_on, kept = ([each.video_id(index) for index in range(len(each))] for each in (dataset, apart))
    assert sorted([*trained_on, *kept]) == ["a", "b", "c"]
    assert len(kept) == held_out
    assert trained_on == sorted(trained_on)
    assert len(looked_at) == 3
    whole = dataset.with_reading(frame_stride=1, spatial_rule=dataset.spatial_rule, seed=0)
    assert len(whole) == 3
    # The same clips whatever seed cuts those of training, and a manifest of their own.
    again = VideoFolder(8, 3, 1, root=str(three), seed=6, held_out=held_out).validation_set(9)
    assert np.array_equal(again.clip(0, 0).frames, apart.clip(0, 0).frames)
    assert again.describe().manifest_sha256 == apart.describe().manifest_sha256 != dataset.describe().manifest_sha256


def test_more_are_held_out_with_those_before(three: Path) -> None:
    one, two = (VideoFolder(8, 3, 1, root=str(three), held_out=number).validation_set(9) for number in (1, 2))
    assert one.video_id(0) in [two.video_id(index) for index in range(2)]


@pytest.mark.parametrize(("held_out", "message"), [(3, "leaves nothing to train on: 3 videos can be used"), (-1, "at")])
def test_not_all_are_held_out(held_out: int, message: str, three: Path) -> None:
    with pytest.raises(StbenchError, match=rf"^dataset\.held_out={held_out}.* {message}"):
        VideoFolder(8, 3, 1, root=str(three), held_out=held_out)


def test_an_impossible_reading_is_refused(three: Path) -> None:
    dataset, rule = VideoFolder(8, 3, 1, root=str(three)), "crop-resize-lanczos"
    with pytest.raises(StbenchError, match=r"^dataset\.frame_stride=0: expected a whole number, at least 1$"):
        dataset.with_reading(frame_stride=0, spatial_rule=rule, seed=0)
    with pytest.raises(StbenchError, match=r"^unknown dataset\.spatial_rule 'stretch'"):
        dataset.with_reading(frame_stride=1, spatial_rule="stretch", seed=0)
    with pytest.raises(StbenchError, match=r"none of 3 videos can be used: 3 shorter than a clip, 21 frames \(dataset"):
        dataset.with_reading(frame_stride=10, spatial_rule=rule, seed=0)


def test_broken_videos_stay_dropped_behind_the_short_ones(three: Path) -> None:
    (three / "0.mp4").write_bytes(b"")
    dataset = VideoFolder(8, 3, 1, root=str(three), max_broken=0.5)
    assert dataset.dropped == [Dropped("0.mp4", "empty (0 bytes)")]
    sparse = dataset.with_reading(frame_stride=4, spatial_rule=dataset.spatial_rule, seed=0)
    assert [video.video_id for video in sparse.dropped] == ["a", "0.mp4"]
    assert sparse.describe().dropped_by_reason == {"shorter than a clip, 9 frames": 1, "empty (0 bytes)": 1}


def test_a_clip_is_what_its_rule_reads(three: Path) -> None:
    dataset = VideoFolder(8, 3, 2, root=str(three), seed=6)
    for index in range(len(dataset)):
        name = dataset.video_id(index)
        start = clip_start(6, name, 4, {"a": 5, "b": 9, "c": 20}[name] - 5 + 1)
        expected = read_frames(three / name, [start, start + 2, start + 4], 8)
        assert np.array_equal(dataset.clip(index, 4).frames, expected)


def test_a_dataset_goes_to_other_processes_whole(three: Path, looked_at: list[Path]) -> None:
    dataset = VideoFolder(8, 3, 1, root=str(three))
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(looked_at) == 3
    assert np.array_equal(copy.clip(2, 5).frames, dataset.clip(2, 5).frames)


# ---- arguments -------------------------------------------------------------------------------------------------------

SHARED = {"image_size", "num_frames", "frame_stride", "seed", "root", "max_broken", "spatial_rule", "held_out"}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("ucf101", {"split": "all", "probe": "metadata"}),
        ("skytimelapse", {"split": "train", "probe": "metadata"}),
        ("video_folder", {"labels": "none", "probe": "metadata"}),
    ],
)
def test_every_argument_shows_in_the_signature_with_its_default(name: str, own: dict[str, str]) -> None:
    component: Component = load_component("dataset", name)
    known = signature_parameters(component)
    assert known.keys() == SHARED | own.keys()
    defaults = {key: each.default for key, each in known.items() if each.default is not inspect.Parameter.empty}
    shared = {"seed": 0, "root": None, "max_broken": 0.05, "spatial_rule": "crop-resize-lanczos", "held_out": 0}
    assert defaults == {**shared, **own}


def test_the_repr_shows_the_arguments_and_not_what_was_found(three: Path) -> None:
    dataset = VideoFolder(8, 3, 1, root=str(three))
    assert repr(dataset) == (
        f"VideoFolder(image_size=8, num_frames=3, frame_stride=1, seed=0, root={str(three)!r}, max_broken=0.05, "
        "probe='metadata', spatial_rule='crop-resize-lanczos', held_out=0, labels='none')"
    )
