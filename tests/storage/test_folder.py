"""The output folder appears whole or not at all, and replaces nothing that it did not make."""

from __future__ import annotations

from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.storage.folder import swapped_in

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
