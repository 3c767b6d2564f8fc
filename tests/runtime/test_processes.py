"""Work split over processes: alone there is all of it, and two real processes have a half each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import distributed

from stbench.runtime.processes import gather, is_first, joined_group, share

PROGRAM = """
from stbench.runtime.processes import gather, is_first, joined_group, share

with joined_group():
    mine = share("abcde")
    with joined_group():  # inside of a group there is nothing to join, and nothing to leave
        pass
    print(is_first(), "".join(mine), "".join(gather(list(mine))))
print(is_first())
"""


def test_one_process_has_all_of_the_work() -> None:
    items = ["a", "b", "c"]
    assert is_first()
    assert share(items) is items
    assert gather(items) is items


@pytest.mark.parametrize("world_size", [None, "1"])
def test_no_group_is_joined_by_one_process(world_size: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world_size is not None:
        monkeypatch.setenv("WORLD_SIZE", world_size)
    with joined_group():
        assert not distributed.is_initialized()


def in_a_group_of(size: int, rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that this is one of several processes."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: size)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("number", [0, 1, 5, 6])
def test_every_item_has_exactly_one_process(size: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(range(number))
    found: list[int] = []
    for rank in range(size):
        in_a_group_of(size, rank, monkeypatch)
        mine = share(items)
        assert abs(len(mine) - number / size) < 1  # equal parts
        found += mine
    assert sorted(found) == items


def test_only_the_first_process_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    first = []
    for rank in range(3):
        in_a_group_of(3, rank, monkeypatch)
        first.append(is_first())
    assert first == [True, False, False]


@pytest.mark.parametrize(("local_rank", "gpu"), [("1", 1), ("5", 1), (None, 0)])
def test_every_process_takes_a_gpu_of_its_own(
    local_rank: str | None, gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(distributed, "init_process_group", calls.append)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: calls.append("left"))
    with pytest.raises(KeyError), joined_group():
        raise KeyError
    assert calls == [gpu, "gloo", "left"]  # left also when the work fails


def test_two_processes_share_and_gather() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].splitlines() for process in processes]
    assert printed == [["True ace acebd", "True"], ["False bd acebd", "True"]]
