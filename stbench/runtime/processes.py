"""Work split over the processes of a `torch.distributed` group; without a group there is one process with all of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def share(items: Sequence[T]) -> Sequence[T]:
    """Return this process's part of `items`: every n-th."""
    if not distributed.is_initialized():
        return items
    return items[distributed.get_rank() :: distributed.get_world_size()]


def gather(items: list[T]) -> list[T]:
    """Return the items of all processes, in the order of their ranks."""
    if not distributed.is_initialized():
        return items
    parts: list[list[T]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(parts, items)
    return list(chain.from_iterable(parts))


@contextlib.contextmanager
def joined_group() -> Iterator[None]:
    """Join the group of processes that torchrun started, each with a GPU of its own where there are some."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    distributed.init_process_group("gloo")  # what is exchanged are a few megabytes of features
    try:
        yield
    finally:
        distributed.destroy_process_group()
