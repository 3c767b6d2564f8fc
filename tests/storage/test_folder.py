"""The output folder appears whole or not at all, and replaces nothing that it did not make."""

from __future__ import annotations

from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.storage.folder import swapped_in
from stbench.storage.lock import LOCK_NAME

NAMES = ("index.html",)


@pytest.mark.parametrize("earlier", [None, "empty", "old"])
def test_swapped_in(tmp_path: Path, earlier: str | None) -> None:
    out = tmp_path / "out"
    if earlier:
        out.mkdir()
    if earlier == "old":
        (out / "index.html").write_text("old")
    with swapped_in(out, NAMES) as folder:
        (folder / "index.html").write_text("new")
    assert (out / "index.html").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("old")
    with pytest.raises(RuntimeError), swapped_in(out, NAMES) as folder:
        (folder / "index.html").write_text("half")
        raise RuntimeError
    assert (out / "index.html").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with (
        pytest.raises(StbenchError, match=r"holds 'thesis\.tex', which replacing the folder would delete"),
        swapped_in(tmp_path, NAMES),
    ):
        pass
    with pytest.raises(StbenchError, match="is a file; expected a folder"), swapped_in(tmp_path / "thesis.tex", NAMES):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_folders_above_are_made_and_everybody_may_read(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "out"
    with swapped_in(out, NAMES) as folder:
        (folder / "index.html").write_text("new")
    assert out.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StbenchError, match=rf"^cannot make the folder {tmp_path}/file: "),
        swapped_in(tmp_path / "file" / "out", NAMES),
    ):
        pass


def test_a_full_disk_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with swapped_in(out, NAMES) as folder:
        (folder / "index.html").write_text("old")
    with (
        pytest.raises(
            StbenchError, match=rf"^cannot write {out}: No space left on device; what was there is untouched$"
        ),
        swapped_in(out, NAMES) as folder,
    ):
        raise OSError(28, "No space left on device")
    assert (out / "index.html").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_an_earlier_output_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace, moved = tmp_path / "out", Path.replace, []
    with swapped_in(out, NAMES) as folder:
        (folder / "index.html").write_text("old")

    def fail_once(path: Path, target: Path) -> Path:
        moved.append(target.name)
        if len(moved) == 2:  # the first moves the earlier output away
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(StbenchError, match="Input/output error"), swapped_in(out, NAMES) as folder:
        (folder / "index.html").write_text("new")
    assert (out / "index.html").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_process_prepared_is_removed_and_what_a_living_one_prepares_is_not(tmp_path: Path) -> None:
    for name in (".out.abandoned", ".out.of_a_user"):
        (tmp_path / name).mkdir()
    (tmp_path / ".out.abandoned" / LOCK_NAME).touch()
    with swapped_in(tmp_path / "out", NAMES) as living:
        with swapped_in(tmp_path / "out", NAMES):
            assert sorted(path.name for path in tmp_path.glob("*of_a_user")) == [".out.of_a_user"]
            assert not (tmp_path / ".out.abandoned").exists()
        assert living.is_dir()


def test_a_name_that_no_folder_can_have_is_one_line(tmp_path: Path) -> None:
    for length in (250, 300):  # of the former only the temporary folder's name is too long
        with (
            pytest.raises(StbenchError, match=r"^cannot write .*: File name too long$"),
            swapped_in(tmp_path / ("x" * length), NAMES),
        ):
            pass
