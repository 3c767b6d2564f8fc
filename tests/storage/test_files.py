"""A file is written whole or not at all, and what cannot be written is refused first."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.storage.files import check_file, check_folder, read_json, write_arrays, write_json, write_whole


@pytest.mark.parametrize("earlier", [None, "old"])
def test_the_file_appears_when_the_block_ends(tmp_path: Path, earlier: str | None) -> None:
    path = tmp_path / "clips.npz"
    if earlier is not None:
        path.write_text(earlier)
    with write_whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent  # another disk could not rename it
        assert (path.read_text() if path.exists() else None) == earlier
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "told", "message"),
    [
        (OSError(28, "No space left on device"), StbenchError, r"^cannot write .*: No space .* \(after 7 bytes\)$"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
    ids=["full disk", "interrupt"],
)  # fmt: skip
def test_a_failure_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, error: BaseException, told: type[BaseException], message: str | None
) -> None:
    path = tmp_path / "clips.npz"
    path.write_text("old")
    with pytest.raises(told, match=message), write_whole(path) as temporary:
        temporary.write_text("half of")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_a_file_do_not_write_into_each_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with write_whole(tmp_path / "clips.npz") as one:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with write_whole(tmp_path / "clips.npz") as other:
            assert one != other
            one.write_text("one")
            other.write_text("other")
        assert (tmp_path / "clips.npz").read_text() == "other"
    assert (tmp_path / "clips.npz").read_text() == "one"


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match="No such file"), write_whole(tmp_path / "clips.npz"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_disk_has_the_content_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flushed = tmp_path / "step.safetensors", []

    def fsync(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with write_whole(path) as temporary:
        temporary.write_bytes(b"1234")
    assert flushed == [(4, False)]


def test_json_is_indented_by_one_and_ends_in_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "cost.json", {"gmac": [1.5, None], "name": "Fréchet"})
    text = '{\n "gmac": [\n  1.5,\n  null\n ],\n "name": "Fr\\u00e9chet"\n}\n'
    assert (tmp_path / "cost.json").read_text(encoding="utf-8") == text
    assert read_json(tmp_path / "cost.json") == {"gmac": [1.5, None], "name": "Fréchet"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, Path("x")])
def test_what_json_does_not_know_is_refused_and_changes_nothing(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "cost.json", 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "cost.json", {"gmac": value})
    assert (tmp_path / "cost.json").read_text() == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cost.json"]


@pytest.mark.parametrize(
    "content", [b"", b'{"a": [1', b"\xff\xfe\x00", b"[" * 200_000], ids=["", "cut", "bytes", "deep"]
)
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cost.json").write_bytes(content)
    with pytest.raises(StbenchError, match=r"^.*cost\.json is damaged: not JSON: .") as caught:
        read_json(tmp_path / "cost.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(StbenchError, match=r"^cannot read .*none\.json: No such file or directory$"):
        read_json(tmp_path / "none.json")


def test_arrays_are_written_under_the_very_name(tmp_path: Path) -> None:
    write_arrays(tmp_path / "features.npz", real=np.arange(3), fake=np.ones((2, 2)))
    with np.load(tmp_path / "features.npz") as arrays:
        assert arrays["real"].tolist() == [0, 1, 2] and arrays["fake"].shape == (2, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


def unusable(tmp_path: Path) -> list[Path]:
    """Where nothing can be written: a file, below one, a link to nowhere, a name too long, and where root may not."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    return [tmp_path / "file", tmp_path / "file" / "x", tmp_path / "dangling", tmp_path / ("x" * 300), Path("/proc/x")]


def test_a_folder_is_tried_before_the_work(tmp_path: Path) -> None:
    for folder in unusable(tmp_path):
        with pytest.raises(StbenchError, match=f"the folder {re.escape(str(folder))}: [A-Z]"):
            check_folder(folder)
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "newer")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file"]


def test_a_file_is_tried_before_the_work(tmp_path: Path) -> None:
    for path in (tmp_path, *(folder / "cost.json" for folder in unusable(tmp_path)), tmp_path / ("x" * 300)):
        with pytest.raises(StbenchError, match=f"^cannot write {re.escape(str(path))}: [A-Z]"):
            check_file(path)
    (tmp_path / "cost.json").write_text("old")
    check_file(tmp_path / "cost.json")
    check_file(tmp_path / "new.json")
    assert (tmp_path / "cost.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cost.json", "dangling", "file"]
