"""Which frames of which videos a source hands out, and what it says of the others."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from stbench.data.clips import ClipRule, clip_start
from stbench.errors import StbenchError
from stbench.fvd.sources import ClipsFile, FolderSource, ranked, read_video
from stbench.records.protocol import FIRST_FRAME, HASHED_OFFSET

RULE = ClipRule(
    num_frames=4,
    frame_stride=2,
    resolution=8,
    spatial_rule="crop-resize-lanczos",
    offset_rule=FIRST_FRAME,
    clip_seed=3,
)
HASHED = ClipRule(**{**vars(RULE), "offset_rule": HASHED_OFFSET})


def some_clips(count: int, num_frames: int, size: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, num_frames, size, size, 3), dtype=np.uint8)


def write_frames(folder: Path, clip: NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True)
    for index, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / f"{index}.png")


@pytest.fixture
def clips_file(tmp_path: Path) -> Path:
    np.savez_compressed(tmp_path / "clips.npz", clips=some_clips(6, 20), labels=np.zeros(6), class_names=np.array([""]))
    return tmp_path / "clips.npz"


@pytest.fixture
def frame_folders(tmp_path: Path) -> Path:
    for index, clip in enumerate(some_clips(6, 20)):
        write_frames(tmp_path / "folders" / f"group{index % 2}" / f"video{index}", clip)
    return tmp_path / "folders"


def test_a_clip_is_every_other_frame_from_the_first(clips_file: Path) -> None:
    clips = some_clips(6, 20)
    for reading in ClipsFile(clips_file).readings(["4", "1"], RULE):
        assert reading.clip is not None
        assert np.array_equal(reading.clip, clips[int(reading.video_id), :8:2])
        assert reading.fingerprint == hashlib.sha256(clips[int(reading.video_id)].tobytes()).hexdigest()


def test_a_hashed_start_depends_on_seed_and_name_alone(clips_file: Path) -> None:
    clips, starts = some_clips(6, 20), set()
    for reading in ClipsFile(clips_file).readings([str(index) for index in range(6)], HASHED):
        start = clip_start(3, reading.video_id, 0, 20 - 7 + 1)
        assert reading.clip is not None
        assert np.array_equal(reading.clip, clips[int(reading.video_id), start : start + 8 : 2][:4])
        starts.add(start)
    assert len(starts) > 3


@pytest.mark.parametrize(("num_frames", "expected"), [(7, True), (6, False)])
def test_a_clip_needs_its_span_and_no_more(tmp_path: Path, num_frames: int, expected: bool) -> None:
    np.savez(tmp_path / "clips.npz", clips=some_clips(2, num_frames))
    write_frames(tmp_path / "frames" / "video", some_clips(1, num_frames)[0])
    for source in (ClipsFile(tmp_path / "clips.npz"), FolderSource(tmp_path / "frames")):
        for reading in source.readings(source.video_ids, RULE):
            assert (reading.clip is not None) == expected
            assert reading.reason == (None if expected else "shorter than a clip, 7 frames")


def test_lossless_folders_and_files_give_the_same_clips(clips_file: Path, frame_folders: Path) -> None:
    folder, file = FolderSource(frame_folders), ClipsFile(clips_file)
    by_number = {each.video_id: each.clip for each in file.readings(file.video_ids, RULE) if each.clip is not None}
    readings = list(folder.readings(folder.video_ids, RULE))
    assert len(readings) == 6
    for reading in readings:
        assert reading.clip is not None
        assert np.array_equal(reading.clip, by_number[reading.video_id[-1]])
    assert (folder.storage, file.storage) == (".png", "uint8, lossless")


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(frame_folders: Path, num_workers: int) -> None:
    (frame_folders / "group0" / "video2" / "3.png").write_bytes(b"")
    (frame_folders / "broken.mp4").write_bytes(b"no video")
    alone, shared = FolderSource(frame_folders), FolderSource(frame_folders, num_workers)
    order = ranked(alone.video_ids, 3)
    for one, other in zip(alone.readings(order, HASHED), shared.readings(order, HASHED), strict=True):
        assert (one.video_id, one.fingerprint, one.reason) == (other.video_id, other.fingerprint, other.reason)
        assert (one.clip is None) == (other.clip is None)
        if one.clip is not None and other.clip is not None:
            assert np.array_equal(one.clip, other.clip)


def test_the_global_generator_is_left_alone(frame_folders: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    source = FolderSource(frame_folders)
    assert len(list(source.readings(source.video_ids, RULE))) == 6
    assert torch.equal(torch.rand(3), expected)


def test_no_video_asked_for_is_no_reading(frame_folders: Path, clips_file: Path) -> None:
    for source in (FolderSource(frame_folders), ClipsFile(clips_file)):
        assert list(source.readings([], RULE)) == []
        assert list(source.fingerprints([], RULE)) == []


def test_a_file_that_was_cut_off_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "cut.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for frame in some_clips(1, 40, size=32)[0]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    reading = read_video(RULE, (path, "cut.avi"))
    assert (reading.video_id, reading.clip) == ("cut.avi", None)
    assert re.fullmatch(r"truncated \(declares 40 frames, holds [123]?[0-9]\)", str(reading.reason))
    assert reading.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_fingerprint_of_a_folder_is_that_of_the_images_in_the_clip(frame_folders: Path) -> None:
    folder = frame_folders / "group0" / "video0"
    digest = hashlib.sha256()
    for name in ("0.png", "2.png", "4.png", "6.png"):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    assert read_video(RULE, (folder, "group0/video0")).fingerprint == digest.hexdigest()


def test_fingerprints_need_no_decoding_and_follow_the_bytes(clips_file: Path, frame_folders: Path) -> None:
    for source in (ClipsFile(clips_file), FolderSource(frame_folders)):
        ids = source.video_ids[1:3]
        read = {each.video_id: each.fingerprint for each in source.readings(ids, RULE)}
        assert dict(source.fingerprints(ids, RULE)) == read
        assert len(set(read.values())) == 2
    folder = FolderSource(frame_folders)
    before = dict(folder.fingerprints(folder.video_ids, RULE))
    Image.new("RGB", (8, 8)).save(frame_folders / "group1" / "video3" / "2.png")
    after = dict(folder.fingerprints(folder.video_ids, RULE))
    assert [name for name in before if before[name] != after[name]] == ["group1/video3"]


def test_a_fingerprint_of_what_cannot_be_used_is_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video " * 20)
    (tmp_path / "nothing.avi").write_bytes(b"")
    source = FolderSource(tmp_path)
    readings = list(source.readings(source.video_ids, RULE))
    assert dict(source.fingerprints(source.video_ids, RULE)) == {each.video_id: each.reason for each in readings}
    assert [each.reason for each in readings] == [
        "empty (0 bytes)",
        "unreadable (Invalid data found when processing input)",
    ]


def test_an_unreadable_file_is_a_reason_not_a_crash(frame_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    source = FolderSource(frame_folders)
    assert {each.reason for each in source.readings(source.video_ids, RULE)} == {"unreadable (Permission denied)"}


def test_other_files_are_listed_and_hidden_ones_are_not(frame_folders: Path) -> None:
    (frame_folders / "group0" / "labels.csv").write_text("a,b")
    (frame_folders / "._video.mp4").write_bytes(b"")
    source = FolderSource(frame_folders)
    assert source.ignored == ["group0/labels.csv"]
    assert len(source.video_ids) == 6


def test_order_is_by_hash_and_nested() -> None:
    ids = [f"v{index}" for index in range(40)]
    assert ranked(ids, 0) == ranked(reversed(ids), 0)
    assert ranked(ids, 0) != ranked(ids, 1)
    assert [name for name in ranked(ids, 0) if name in ids[:10]] == ranked(ids[:10], 0)


def test_frame_size_comes_from_the_first_video_that_opens(frame_folders: Path, clips_file: Path) -> None:
    (frame_folders / "a.mp4").write_bytes(b"no video")
    Image.new("RGB", (12, 10)).save(frame_folders / "group0" / "video0" / "0.png")
    assert FolderSource(frame_folders).short_side() == 10
    assert ClipsFile(clips_file).short_side() == 8


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.zeros((2, 4, 8, 8, 3), np.float32), r"expected clips uint8 \(N,F,H,W,3\), got float32"),
        (np.zeros((2, 3, 4, 8, 8), np.uint8), r"got uint8 \(2, 3, 4, 8, 8\)"),
        (np.zeros((0, 4, 8, 8, 3), np.uint8), r"got uint8 \(0, 4, 8, 8, 3\)"),
        (np.asfortranarray(np.zeros((2, 4, 8, 8, 3), np.uint8)), "Fortran order"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, clips: NDArray[np.uint8], message: str) -> None:
    np.savez(tmp_path / "clips.npz", clips=clips)
    with pytest.raises(StbenchError, match=message):
        ClipsFile(tmp_path / "clips.npz")


def test_a_damaged_file_of_clips_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clips.npz"
    np.savez(path, clips=some_clips(6, 20))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    source = ClipsFile(path)
    with pytest.raises(StbenchError, match=r"clips\.npz: damaged"):
        list(source.readings(source.video_ids, RULE))


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(StbenchError, match="holds no videos and no folders of images"):
        FolderSource(tmp_path)


def test_names_that_are_not_utf8_and_linked_folders_are_read(frame_folders: Path, tmp_path: Path) -> None:
    (frame_folders / "group0" / "video0").rename(frame_folders / os.fsdecode(b"caf\xe9"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(frame_folders)
    source = FolderSource(tmp_path / "set")
    assert len(source.video_ids) == 6
    assert "linked/caf\\xe9" in source.video_ids
    readings = list(source.readings(source.video_ids, HASHED))
    assert all(reading.clip is not None for reading in readings)
    assert [fingerprint for _, fingerprint in source.fingerprints(source.video_ids, HASHED)] == [
        reading.fingerprint for reading in readings
    ]
