"""Batches for torch, in an order that is a pure function of (seed, step).

A run that stops and resumes at any step, with any number of workers, sees the same clips as one that never stopped:
epoch e goes through a permutation drawn from (seed, e) by the counter-based generator Philox (Salmon et al., SC 2011),
batch s takes positions s * B to (s + 1) * B - 1 of the epochs laid end to end, and the epoch is also a clip's draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stbench.data.clips import ClipDataset
from stbench.errors import StbenchError
from stbench.storage.hashing import hash_uint64

# The video and the draw of every clip of a batch.
_Plan = tuple[Sequence[int], Sequence[int]]
# Clips uint8 (B,F,H,W,3) and labels (B,), or what went wrong.
_Item = tuple[Tensor, Tensor] | StbenchError


@dataclass(frozen=True)
class Batch:
    """Clips for a backbone.

    Attributes:
        clips: float32 (B,C,F,H,W) in [-1,1], C = 3.
        labels: int64 (B,), or None when the dataset is unconditional.
    """

    clips: Tensor
    labels: Tensor | None


def clips_to_tensor(clips: NDArray[np.uint8] | Tensor) -> Tensor:
    """Turn uint8 (B,F,H,W,3) into float32 (B,3,F,H,W) in [-1,1], x / 127.5 - 1."""
    pixels = torch.as_tensor(clips)
    if pixels.dtype != torch.uint8 or pixels.ndim != 5 or pixels.shape[-1] != 3:
        raise StbenchError(f"clips: expected uint8 (B,F,H,W,3), got {pixels.dtype} {tuple(pixels.shape)}")
    return pixels.permute(0, 4, 1, 2, 3).to(torch.float32, memory_format=torch.contiguous_format) / 127.5 - 1


def tensor_to_clips(clips: Tensor) -> NDArray[np.uint8]:
    """Turn (B,3,F,H,W) in [-1,1] into uint8 (B,F,H,W,3); values outside are clamped, the nearest integer is taken.

    Raises:
        StbenchError: some values are not finite, or the shape is another.
    """
    if clips.ndim != 5 or clips.shape[1] != 3:
        raise StbenchError(f"clips: expected (B,3,F,H,W), got {tuple(clips.shape)}")
    if not torch.isfinite(clips).all():
        raise StbenchError(f"clips: {int((~torch.isfinite(clips)).sum())} of {clips.numel()} values are not finite")
    pixels = ((clips.float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()


def training_batches(
    dataset: ClipDataset, batch_size: int, seed: int, first_step: int, num_steps: int, num_workers: int = 0
) -> Iterator[Batch]:
    """Yield the batches of steps `first_step` to `first_step + num_steps - 1`.

    Args:
        dataset: where the clips come from.
        batch_size: clips of a batch; may be more than there are videos.
        seed: decides the order, together with the step alone.
        first_step: the step to start, or to resume, with.
        num_steps: how many batches.
        num_workers: processes that decode ahead; 0 decodes in this one. Does not change what is yielded.
    """
    plan = partial(_training_plan, len(dataset), batch_size, seed)
    return _load(dataset, plan, range(first_step, first_step + num_steps), num_workers)


def evaluation_clips(
    dataset: ClipDataset, num_clips: int, seed: int, batch_size: int, num_workers: int = 0
) -> Iterator[Batch]:
    """Yield one clip (draw 0) of each of `num_clips` videos, or of all when there are fewer.

    The videos are those with the smallest hash of (seed, video id), so that the set depends neither on the batch size
    nor on the workers, and a smaller set is part of a larger.
    """
    ranked = sorted(range(len(dataset)), key=lambda index: hash_uint64(seed, dataset.video_id(index)))
    chosen = ranked[:num_clips]
    plan = partial(_evaluation_plan, chosen, batch_size)
    return _load(dataset, plan, range(-(-len(chosen) // batch_size)), num_workers)


def _training_plan(num_videos: int, batch_size: int, seed: int, step: int) -> _Plan:
    """Return videos and draws of the batch of a step."""
    places = [divmod(place, num_videos) for place in range(step * batch_size, (step + 1) * batch_size)]
    indices = [int(_permutation(num_videos, seed, epoch)[place]) for epoch, place in places]
    return indices, [epoch for epoch, _ in places]


def _evaluation_plan(chosen: Sequence[int], batch_size: int, number: int) -> _Plan:
    """Return videos and draws of a batch of the chosen videos; the last may be smaller."""
    indices = chosen[number * batch_size : (number + 1) * batch_size]
    return indices, [0] * len(indices)


@lru_cache(maxsize=2)
def _permutation(num_videos: int, seed: int, epoch: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(key=hash_uint64("epoch", seed, epoch)))
    return generator.permutation(num_videos)


class _Planned(Dataset[_Item]):
    """Item s is the batch planned for step s, still uint8: a quarter of the bytes to hand over between processes.

    An error is an item too: raised in a worker, it would reach the user as that worker's traceback.
    """

    def __init__(self, dataset: ClipDataset, plan: Callable[[int], _Plan]) -> None:
        self.dataset = dataset
        self.plan = plan

    def __getitem__(self, step: int) -> _Item:
        try:
            clips, labels = self.dataset.batch(*self.plan(step))
        except StbenchError as error:
            return StbenchError(str(error))
        return torch.from_numpy(clips), torch.from_numpy(labels)


def _load(dataset: ClipDataset, plan: Callable[[int], _Plan], steps: range, num_workers: int) -> Iterator[Batch]:
    items: Iterable[_Item] = DataLoader(
        _Planned(dataset, plan),
        batch_size=None,
        sampler=steps,
        num_workers=num_workers,
        # Without a generator of its own, a DataLoader draws from the global one, and shifts the training noise.
        generator=torch.Generator(),
    )
    for item in items:
        if isinstance(item, StbenchError):
            raise item
        clips, labels = item
        yield Batch(clips_to_tensor(clips), labels if dataset.num_classes else None)
