"""Features of one side: what decided them, kept and found again, cut down, and refused under another protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stbench.data.clips import ClipRule, Dropped
from stbench.errors import NotComparable, StbenchError
from stbench.fvd.sides import (
    Pair,
    SideFeatures,
    check_conditions,
    clip_rule,
    conditions_of,
    load_features,
    open_side,
    still_valid,
)
from stbench.fvd.sources import ClipsFile, FolderSource, ranked
from stbench.metrics.protocol import PROTOCOLS
from stbench.records.protocol import FIRST_FRAME, HASHED_OFFSET, Protocol
from stbench.storage.hashing import sha256_of

PROTOCOL = replace(
    PROTOCOLS["builtin"],
    num_frames=4,
    frame_stride_real=2,
    resolution=8,
    detector_weights_sha256="0" * 64,
    detector_code_sha256=None,
    num_real=3,
    num_fake=2,
)


def side_of(protocol: Protocol = PROTOCOL) -> SideFeatures:
    """Three videos of the real side, a broken one between them."""
    return SideFeatures(
        features=np.arange(6, dtype=np.float32).reshape(3, 2),
        shuffled=-np.arange(6, dtype=np.float32).reshape(3, 2),
        video_ids=["a", "b", "c"],
        conditions=conditions_of(protocol, "real"),
        asked=3,
        found=9,
        tried=[("a", "1"), ("x", "2"), ("b", "3"), ("y", "4"), ("c", "5")],
        dropped=[Dropped("x", "empty"), Dropped("y", "truncated")],
        ignored=["labels.csv"],
        storage=".mp4",
        origin="videos",
    )


def test_what_decides_the_features_of_a_side() -> None:
    shared = {
        "detector": "shapes3d",
        "preprocessing": "resize32",
        "feature_dim": 64,
        "num_frames": 4,
        "detector_weights_sha256": "0" * 64,
        "detector_precision": "float32",
        "detector_code_sha256": None,
        "bn_eps": 1e-5,
        "resolution": 8,
        "spatial_rule": "crop-resize-lanczos",
        "value_range": [-1.0, 1.0],
        "short_video_rule": "dropped",
        "clips_per_video": 1,
        "clip_seed": 0,
        "metric_version": 2,
    }
    assert conditions_of(PROTOCOL, "real") == shared | {"frame_stride": 2, "offset_rule": HASHED_OFFSET}
    assert conditions_of(PROTOCOL, "fake") == shared | {"frame_stride": 1, "offset_rule": FIRST_FRAME}


def test_the_rule_by_which_clips_are_read() -> None:
    rule = ClipRule(
        num_frames=4,
        frame_stride=2,
        resolution=8,
        spatial_rule="crop-resize-lanczos",
        offset_rule=HASHED_OFFSET,
        clip_seed=0,
    )
    assert clip_rule(PROTOCOL, "real") == rule
    assert clip_rule(PROTOCOL, "fake") == replace(rule, frame_stride=1, offset_rule=FIRST_FRAME)


def test_a_pair_names_its_sides_the_real_one_first() -> None:
    assert Pair(1, 2).named() == (("real", 1), ("fake", 2))


@pytest.mark.parametrize("shuffled", [True, False])
def test_what_is_kept_is_found_again(tmp_path: Path, shuffled: bool) -> None:
    side, path = side_of(), tmp_path / "real_features.npz"
    side = side if shuffled else replace(side, shuffled=None)
    side.save(path)
    found = load_features(path)
    assert np.array_equal(found.features, side.features)
    assert (found.shuffled is not None) == shuffled
    empty: dict[str, Any] = {"features": None, "shuffled": None}
    assert replace(found, **empty) == replace(side, **empty, file=path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_manifest_is_of_the_rows_alone() -> None:
    assert side_of().manifest_sha256 == sha256_of([["a", "1"], ["b", "3"], ["c", "5"]])
    assert side_of().first(2).manifest_sha256 == sha256_of([["a", "1"], ["b", "3"]])


def test_the_first_are_as_if_fewer_had_been_wanted() -> None:
    side = side_of()
    assert side.first(None) is side.first(3) is side
    fewer = side.first(2)
    assert fewer.features.tolist() == [[0, 1], [2, 3]]
    assert fewer.shuffled is not None
    assert len(fewer.shuffled) == 2
    assert (fewer.video_ids, fewer.asked, fewer.found) == (["a", "b"], 2, 9)
    assert fewer.tried == [("a", "1"), ("x", "2"), ("b", "3")]
    assert fewer.dropped == [Dropped("x", "empty")]


def test_what_is_said_of_a_side() -> None:
    assert side_of().to_dict() == {
        "origin": "videos",
        "found": 9,
        "asked": 3,
        "used": 3,
        "storage": ".mp4",
        "manifest_sha256": side_of().manifest_sha256,
        "dropped": [{"video_id": "x", "reason": "empty"}, {"video_id": "y", "reason": "truncated"}],
        "ignored": ["labels.csv"],
    }


def test_features_of_another_protocol_are_refused() -> None:
    kept = replace(side_of(), file=Path("kept.npz"))
    check_conditions(kept, PROTOCOL, "real")
    with pytest.raises(NotComparable) as differs:
        check_conditions(kept, replace(PROTOCOL, num_frames=8, frame_stride_real=1), "real")
    assert str(differs.value) == (
        "kept.npz was made under another protocol: num_frames is 4, not 8, frame_stride is 2, not 1"
    )
    for asked in (4, None):
        with pytest.raises(StbenchError) as more:
            check_conditions(kept, replace(PROTOCOL, num_real=asked), "real")
        assert str(more.value) == (
            f"kept.npz holds the 3 videos that were asked for then, not {asked or 'all'}: name the videos themselves"
        )


def test_a_file_of_other_rows_than_videos_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    replace(side_of(), video_ids=["a", "b"]).save(path)
    with pytest.raises(StbenchError) as caught:
        load_features(path)
    assert str(caught.value) == f"{path}: expected one row of features per video, got shape (3, 2) and 2 videos"


def test_features_are_taken_again_only_when_nothing_has_changed(tmp_path: Path) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "clips.npz", clips=clips)
    source = ClipsFile(tmp_path / "clips.npz")
    protocol = replace(PROTOCOL, num_fake=3)
    known = dict(source.fingerprints(source.video_ids, clip_rule(protocol, "fake")))
    order = ranked(source.video_ids, 0)
    kept = replace(
        side_of(),
        conditions=conditions_of(protocol, "fake"),
        found=3,
        tried=[(name, known[name]) for name in order],
    )
    assert still_valid(kept, source, protocol, "fake", control=True)
    assert not still_valid(replace(kept, shuffled=None), source, protocol, "fake", control=True)
    assert still_valid(replace(kept, shuffled=None), source, protocol, "fake", control=False)
    assert not still_valid(replace(kept, found=4), source, protocol, "fake", control=True)
    assert not still_valid(kept, source, replace(protocol, num_fake=2), "fake", control=True)
    assert not still_valid(kept, source, replace(protocol, resolution=16), "fake", control=True)
    other = [(name, "another" if name == order[0] else print_) for name, print_ in kept.tried]
    assert not still_valid(replace(kept, tried=other), source, protocol, "fake", control=True)


def test_a_path_is_opened_as_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x")
    np.savez(tmp_path / "clips.npz", clips=np.zeros((1, 2, 4, 4, 3), np.uint8))
    side_of().save(tmp_path / "features.npz")
    found = [open_side(tmp_path / name) for name in ("videos", "clips.npz", "features.npz")]
    assert [type(each) for each in found] == [FolderSource, ClipsFile, SideFeatures]


def test_what_stbench_wrote_is_no_folder_of_videos(tmp_path: Path) -> None:
    """The pictures beside the features were taken for a video."""
    Image.new("RGB", (4, 4)).save(tmp_path / "clips.png")
    np.savez(tmp_path / "labels.npz", labels=np.zeros(3))  # somebody's own
    (tmp_path / "damaged.npz").write_bytes(b"no archive")
    assert isinstance(open_side(tmp_path), FolderSource)
    side_of().save(tmp_path / "real_features.npz")
    np.savez(tmp_path / "samples.npz", clips=np.zeros((1, 2, 4, 4, 3), np.uint8))
    with pytest.raises(StbenchError) as caught:
        open_side(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: expected a folder of videos, or a file that stbench wrote: "
        f"{tmp_path / 'real_features.npz'} or {tmp_path / 'samples.npz'}"
    )
