"""How alike the features of a clip's frames are after each block of a backbone.

The authors of Latte (arXiv 2401.03048, the TMLR version) hold the stacked arrangement back by it: through spatial
blocks alone, the frames of a clip would drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn


def frame_similarity(features: Tensor) -> Tensor:
    """Return the mean cosine similarity between two frames of a clip, (B,) for features (B, F, ...) of F > 1 frames.

    Over unit vectors u_f it is (|sum u_f|^2 - F) / (F (F - 1)), since every u_f is alike to itself by 1.
    """
    frames = nn.functional.normalize(features.flatten(2).double(), dim=2)  # (B, F, N * D)
    count = frames.shape[1]
    return (frames.sum(dim=1).square().sum(dim=1) - count) / (count * (count - 1))


@contextmanager
def watched_similarity(blocks: Sequence[nn.Module]) -> Iterator[list[list[float]]]:
    """Note the similarity of every clip that passes, a list for each block.

    Args:
        blocks: in order of depth, each returning features (B, F, ...) and called once for a batch.
    """
    found: list[list[float]] = [[] for _ in blocks]

    def note(seen: list[float], module: nn.Module, inputs: object, output: Tensor) -> None:
        seen.extend(frame_similarity(output.detach()).tolist())

    handles = [block.register_forward_hook(partial(note, seen)) for block, seen in zip(blocks, found, strict=True)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
