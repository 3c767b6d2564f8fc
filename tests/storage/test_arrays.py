"""Arrays are read as plain numbers and texts, or refused in one line that names the file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.storage import arrays
from stbench.storage.arrays import array_names, read_arrays
from stbench.storage.clips import Clips, load_clips


def test_arrays_are_read_by_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.array(["x"]))
    assert array_names(tmp_path / "a.npz") == ["a", "b"]
    assert read_arrays(tmp_path / "a.npz", ["b"]).keys() == {"b"}
    assert read_arrays(tmp_path / "a.npz")["a"].tolist() == [0, 1, 2]
    with pytest.raises(StbenchError, match=r"a\.npz: cannot be read as \.npz .*'c\.npy'"):
        read_arrays(tmp_path / "a.npz", ["c"])


def test_what_would_not_fit_into_memory_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A few kilobytes whose header promises 6 GiB, and some that keep the promise a thousandfold compressed."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("clips.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (6 * 2**30,)})
    with pytest.raises(StbenchError, match=r"bomb\.npz: .* unpacks to 6\.0 GiB, more than 4"):
        read_arrays(path)


def test_the_limit_is_of_all_arrays_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(600, np.uint8), b=np.zeros(600, np.uint8))
    monkeypatch.setattr(arrays, "LARGEST_GIB", 1000 / 2**30)
    assert read_arrays(tmp_path / "a.npz", ["a"])["a"].shape == (600,)
    with pytest.raises(StbenchError, match="unpacks to"):
        read_arrays(tmp_path / "a.npz")


def test_a_file_with_a_few_bytes_changed_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    """Bytes of the compressed numbers, of headers and of the table of contents."""
    random = np.random.default_rng(0)
    whole = tmp_path / "whole.npz"
    Clips(random.integers(0, 256, (2, 3, 4, 4, 3), dtype=np.uint8), np.array([1, 0]), ("a", "b")).save(whole)
    refused = 0
    for case in range(300):
        content = np.frombuffer(whole.read_bytes(), np.uint8).copy()
        content[random.integers(len(content), size=1 + case % 3)] = random.integers(0, 256)
        path = tmp_path / "damaged.npz"
        path.write_bytes(content.tobytes()[: None if case % 4 else int(random.integers(len(content)))])
        try:
            load_clips(path)
        except StbenchError as error:
            refused += 1
            assert "\n" not in str(error)
            assert "damaged.npz: " in str(error)
    assert refused > 100
