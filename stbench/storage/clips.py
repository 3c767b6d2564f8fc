"""Clips that a run keeps for its report, as an .npz file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stbench.errors import StbenchError
from stbench.storage.arrays import read_arrays
from stbench.storage.files import write_arrays


@dataclass(frozen=True)
class Clips:
    """Clips uint8 (N, F, H, W, 3), their labels int64 (N,), and the names of the classes; none when unconditional."""

    clips: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write what `load_clips` reads."""
        names = np.array(self.class_names, dtype=str)
        write_arrays(path, clips=self.clips, labels=self.labels, class_names=names)


def load_clips(path: Path) -> Clips:
    """Read an npz file of clips.

    Raises:
        StbenchError: the file cannot be read, lacks an array, or holds something else than clips.
    """
    arrays = read_arrays(path, ("clips", "labels", "class_names"))
    clips = Clips(arrays["clips"], arrays["labels"], tuple(str(name) for name in arrays["class_names"].reshape(-1)))
    shape = clips.clips.shape
    if clips.clips.dtype != np.uint8 or len(shape) != 5 or shape[-1] != 3 or 0 in shape:
        raise StbenchError(f"{path}: expected clips uint8 (N, F, H, W, 3), got {clips.clips.dtype} {shape}")
    if clips.labels.shape != shape[:1] or clips.labels.dtype.kind not in "iu":
        raise StbenchError(
            f"{path}: expected {shape[0]} whole numbers as labels, got {clips.labels.dtype} {clips.labels.shape}"
        )
    return clips
