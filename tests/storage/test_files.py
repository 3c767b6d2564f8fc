"""A file is written whole or not at all, and nothing else is left beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stbench.storage.files import write_json, write_whole


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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "clips.npz"
    path.write_text("old")
    with pytest.raises(type(error)), write_whole(path) as temporary:
        temporary.write_text("half of")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "clips.npz"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_flushing_waits_for_the_content_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "step.safetensors", []

    def fsync(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with write_whole(path) as temporary:
        temporary.write_bytes(b"1234")
    assert flushed == []
    path.unlink()
    with write_whole(path, flush=True) as temporary:
        temporary.write_bytes(b"1234")
    assert flushed == [(4, False)]


def test_json_is_indented_by_one_and_ends_in_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "cost.json", {"gmac": [1.5, None], "name": "Fréchet"})
    text = '{\n "gmac": [\n  1.5,\n  null\n ],\n "name": "Fr\\u00e9chet"\n}\n'
    assert (tmp_path / "cost.json").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, Path("x")])
def test_what_json_does_not_know_is_refused_and_changes_nothing(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "cost.json", 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "cost.json", {"gmac": value})
    assert (tmp_path / "cost.json").read_text() == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cost.json"]
