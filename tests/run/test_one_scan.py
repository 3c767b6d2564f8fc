"""A run looks through its dataset's folder once, even where the protocol reads real videos at another stride."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stbench.data import scanning
from stbench.data.scanning import FolderDataset
from stbench.errors import StbenchError
from stbench.metrics.protocol import PROTOCOLS
from stbench.run.setup import prepare
from stbench.settings.resolve import resolve


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """The words of a run on two folders of 20 images, whose protocol takes real videos at the given stride."""
    for video in "ab":
        (tmp_path / video).mkdir()
        for index in range(20):
            Image.fromarray(np.full((16, 16, 3), 10 * index, dtype=np.uint8)).save(tmp_path / video / f"{index}.png")

    def with_stride(frame_stride: int) -> list[str]:
        monkeypatch.setitem(PROTOCOLS, "builtin", replace(PROTOCOLS["builtin"], frame_stride_real=frame_stride))
        return ["variant=latte1", "dataset=video_folder", f"dataset.root={tmp_path}", "preset=smoke", "device=cpu"]

    return with_stride


def test_one_scan_serves_training_and_comparison(
    words: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    count_frames = scanning.count_frames

    def count(path: Path, probe: str = "metadata") -> int:
        looked_at.append(path.name)
        return count_frames(path, probe)

    monkeypatch.setattr(scanning, "count_frames", count)
    setup = prepare(resolve(words(2)))
    assert looked_at == ["a", "b"]
    assert isinstance(setup.dataset, FolderDataset)
    assert isinstance(setup.reference, FolderDataset)
    assert setup.reference.videos is setup.dataset.videos
    assert (setup.dataset.frame_stride, setup.reference.frame_stride) == (1, 2)
    assert setup.protocol.frame_stride_real == 2


def test_the_error_of_the_second_reading_names_the_dataset(words: Callable[[int], list[str]]) -> None:
    with pytest.raises(StbenchError, match=r"^dataset 'video_folder': dataset\.root=.*: none of 2 videos can be used"):
        prepare(resolve(words(9)))
