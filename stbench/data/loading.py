"""Batches for torch, in an order that is a pure function of (seed, step).

A run that stops and resumes at any step, with any number of workers, sees the same clips as one that never stopped:
epoch e goes through a permutation drawn from (seed, e) by the counter-based generator Philox (Salmon et al., SC 2011),
batch s takes positions s * B to (s + 1) * B - 1 of the epochs laid end to end, and the epoch is also a clip's draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stbench.data.clips import Clip, ClipDataset, Dropped
from stbench.data.video import UnreadableVideoError
from stbench.errors import StbenchError, error_with_place, first_line, is_of_own_code
from stbench.runtime.machine import is_out_of_memory
from stbench.signals import leave_to_parent
from stbench.storage.hashing import hash_uint64

# The video and the draw of every clip of a batch.
_Plan = tuple[Sequence[int], Sequence[int]]
# Clips uint8 (B,F,H,W,3), labels (B,), and by their places in the batch the videos that could not be read, whose clips
# are missing; or what went wrong.
_Item = tuple[Tensor, Tensor, dict[int, Dropped]] | StbenchError


@dataclass(frozen=True)
class Batch:
    """Clips for a backbone.

    Attributes:
        clips: float32 (B,C,F,H,W) in [-1,1], C = 3.
        labels: int64 (B,), or None when the dataset is unconditional.
        fps: float32 (B,), frames per second, or None where a network is not told them.
    """

    clips: Tensor
    labels: Tensor | None
    fps: Tensor | None = None


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

    In place of a video that turns out to be unreadable the next one of the dataset is taken, by the same rule whenever
    and wherever that is found out; the dataset notes it (`ClipDataset.lose`), and says when there are too many.

    Args:
        dataset: where the clips come from.
        batch_size: clips of a batch; may be more than there are videos.
        seed: decides the order, together with the step alone.
        first_step: the step to start, or to resume, with.
        num_steps: how many batches.
        num_workers: processes that decode ahead; 0 decodes in this one. Does not change what is yielded.
    """
    plan = partial(_training_plan, len(dataset), batch_size, seed)
    steps = range(first_step, first_step + num_steps)
    for step, (clips, labels, lost) in zip(steps, _load(dataset, plan, steps, num_workers), strict=True):
        indices, draws = plan(step)
        if lost:
            clips, labels, indices = _with_stand_ins(dataset, (indices, draws), clips, labels, list(lost))
        rates = [rate for each in zip(indices, draws, strict=True) if (rate := dataset.fps_of(*each)) is not None]
        yield Batch(
            clips_to_tensor(clips), labels if dataset.num_classes else None, torch.tensor(rates) if rates else None
        )


def evaluation_clips(
    dataset: ClipDataset, num_clips: int, seed: int, batch_size: int, num_workers: int = 0
) -> Iterator[Batch]:
    """Yield one clip (draw 0) of each of `num_clips` videos, or of all when there are fewer.

    The videos are those with the smallest hash of (seed, video id), so that the set depends neither on the batch size
    nor on the workers, and a smaller set is part of a larger. A video that turns out to be unreadable is left out, as
    if it were not there, and the dataset notes it (`ClipDataset.lose`).
    """
    ranked = sorted(range(len(dataset)), key=lambda index: hash_uint64(seed, dataset.video_id(index)))
    # Those after the first `num_clips` are read where some of these were lost, and without workers, which read ahead.
    first, others = ranked[:num_clips], ranked[num_clips:]
    read = chain(
        _load(dataset, partial(_evaluation_plan, first, batch_size), _batches(first, batch_size), num_workers),
        _load(dataset, partial(_evaluation_plan, others, 1), _batches(others, 1), 0),
    )
    clips = ((clip, label) for clips, labels, _ in read for clip, label in zip(clips, labels, strict=True))
    wanted = islice(clips, num_clips)
    while batch := list(islice(wanted, batch_size)):
        labels = torch.stack([label for _, label in batch])
        yield Batch(clips_to_tensor(torch.stack([clip for clip, _ in batch])), labels if dataset.num_classes else None)


def _training_plan(num_videos: int, batch_size: int, seed: int, step: int) -> _Plan:
    """Return videos and draws of the batch of a step."""
    places = [divmod(place, num_videos) for place in range(step * batch_size, (step + 1) * batch_size)]
    indices = [int(_permutation(num_videos, seed, epoch)[place]) for epoch, place in places]
    return indices, [epoch for epoch, _ in places]


def _batches(chosen: Sequence[int], batch_size: int) -> range:
    return range(-(-len(chosen) // batch_size))


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
        indices, draws = self.plan(step)
        try:
            lost = {}
            try:
                clips, labels = self.dataset.batch(indices, draws)
            except UnreadableVideoError:  # at least one is lost: which?
                lost = self._unreadable(indices, draws)
                kept = [place for place in range(len(indices)) if place not in lost]
                clips, labels = self.dataset.batch([indices[p] for p in kept], [draws[p] for p in kept])
        except StbenchError as error:
            return StbenchError(str(error))
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error) or not is_of_own_code(error):
                raise
            return StbenchError(error_with_place(error))
        return torch.from_numpy(clips), torch.from_numpy(labels), lost

    def _unreadable(self, indices: Sequence[int], draws: Sequence[int]) -> dict[int, Dropped]:
        lost = {}
        for place, (index, draw) in enumerate(zip(indices, draws, strict=True)):
            try:
                self.dataset.clip(index, draw)
            except UnreadableVideoError as error:
                lost[place] = Dropped(self.dataset.video_id(index), error.reason)
        return lost


def _load(
    dataset: ClipDataset, plan: Callable[[int], _Plan], steps: range, num_workers: int
) -> Iterator[tuple[Tensor, Tensor, dict[int, Dropped]]]:
    """Yield the item of each step; videos that are lost on the way are noted by the dataset."""
    items: Iterable[_Item] = DataLoader(
        _Planned(dataset, plan),
        batch_size=None,
        sampler=steps,
        num_workers=num_workers,
        # Without a generator of its own, a DataLoader draws from the global one, and shifts the training noise.
        generator=torch.Generator(),
        worker_init_fn=leave_to_parent,
    )
    for item in _naming_lost_workers(items):
        if isinstance(item, StbenchError):
            raise item
        for video in item[2].values():
            dataset.lose(video)
        yield item


def _naming_lost_workers(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items; a worker that is killed, as the system does where memory runs out, is an error for people."""
    try:
        yield from items
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise StbenchError(
            f"{first_line(error).rstrip('.')} while it read clips: did memory or /dev/shm run out?"
        ) from error


def _with_stand_ins(
    dataset: ClipDataset, plan: _Plan, clips: Tensor, labels: Tensor, places: Sequence[int]
) -> tuple[Tensor, Tensor, list[int]]:
    """Put a readable clip into each of the empty places of a batch; says of which videos the clips are then."""
    rows, (planned, draws) = list(zip(clips, labels, strict=True)), plan
    indices = list(planned)
    for place in places:  # in rising order
        indices[place], clip = _stand_in(dataset, planned[place], draws[place])
        rows.insert(place, (torch.tensor(clip.frames), torch.tensor(clip.label)))
    return torch.stack([frames for frames, _ in rows]), torch.stack([label for _, label in rows]), indices


def _stand_in(dataset: ClipDataset, index: int, draw: int) -> tuple[int, Clip]:
    """The next video of the dataset that can be read, and its clip."""
    for other in (*range(index + 1, len(dataset)), *range(index)):
        try:
            return other, dataset.clip(other, draw)
        except UnreadableVideoError as error:
            dataset.lose(Dropped(dataset.video_id(other), error.reason))
    raise StbenchError(f"none of {len(dataset)} videos can be read: {dataset.lost[dataset.video_id(index)]}")
