"""Clips that a run keeps: what goes in comes out, and what is wrong with a file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stbench.errors import StbenchError
from stbench.storage.clips import Clips, load_clips


@pytest.mark.parametrize("names", [(), ("left", "right")])
def test_round_trip(names: tuple[str, ...], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4, 3), dtype=np.uint8)
    Clips(pixels, np.array([1, 0]), names).save(tmp_path / "clips.npz")
    read = load_clips(tmp_path / "clips.npz")
    assert np.array_equal(read.clips, pixels)
    assert (read.labels.tolist(), read.class_names) == ([1, 0], names)


def test_load_clips_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    with pytest.raises(StbenchError, match=r"samples\.npz: cannot be read as \.npz"):
        load_clips(path)
    path.write_text("<html>")
    with pytest.raises(StbenchError, match=r"samples\.npz: cannot be read as \.npz"):
        load_clips(path)
    names = np.array(["a"])
    np.savez(path, clips=np.zeros((2, 3, 4, 4, 3), np.float32), labels=np.zeros(2, np.int64), class_names=names)
    with pytest.raises(StbenchError, match=r"expected clips uint8 \(N, F, H, W, 3\), got float32"):
        load_clips(path)
    np.savez(path, clips=np.zeros((2, 3, 4, 4, 3), np.uint8), labels=np.zeros(5, np.int64), class_names=names)
    with pytest.raises(StbenchError, match="expected 2 whole numbers as labels"):
        load_clips(path)
