"""The search for the largest batch, on a device that holds so many clips and no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stbench.backbones.latte import Latte
from stbench.profiling import batch_size
from stbench.profiling.batch_size import find_batch_size, host_memory_mib, peak_of_training_step, search_batch_size
from stbench.profiling.workbench import Conditions, Subject
from stbench.profiling.workload import Workload
from stbench.records.costs import BatchSizeSearch, Trial
from stbench.runtime.device import Runtime

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB"


def device_that_holds(clips: int) -> Callable[[int], float]:
    def peak_mib(batch_size: int) -> float:
        if batch_size > clips:
            raise torch.OutOfMemoryError(f"{OUT_OF_MEMORY}\nand more")
        return 100.0 + 10 * batch_size

    return peak_mib


@pytest.mark.parametrize(
    ("clips", "limit", "largest", "tried"),
    [
        (5, 1024, 4, [1, 2, 4, 8]),
        (8, 1024, 8, [1, 2, 4, 8, 16]),
        (1000, 8, 8, [1, 2, 4, 8]),
        (1000, 12, 8, [1, 2, 4, 8]),
        (0, 1024, None, [1]),
    ],
)
def test_doubles_until_memory_or_the_limit(clips: int, limit: int, largest: int | None, tried: list[int]) -> None:
    search = find_batch_size(device_that_holds(clips), limit)
    assert search.largest_batch_size == largest
    assert [trial.batch_size for trial in search.trials] == tried


def test_running_out_of_memory_is_a_result() -> None:
    assert find_batch_size(device_that_holds(1), 1024) == BatchSizeSearch(
        largest_batch_size=1,
        trials=(
            Trial(batch_size=1, status="fits", peak_mib=110.0),
            Trial(batch_size=2, status="oom", reason=OUT_OF_MEMORY),
        ),
    )


def test_another_error_is_none() -> None:
    def broken(batch_size: int) -> float:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        find_batch_size(broken, 4)


def test_where_the_kernel_would_end_the_process_it_is_not_tried() -> None:
    search = find_batch_size(device_that_holds(1000), 1024, available_mib=300)
    assert [(trial.batch_size, trial.status) for trial in search.trials][-2:] == [(8, "fits"), (16, "refused")]
    assert search.trials[-1].reason == "about 360 MiB expected, 300 MiB there"
    assert search.largest_batch_size == 8


@pytest.mark.parametrize("limit", ["max", "1048576", ""])
def test_host_memory_follows_the_control_group(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "read_text", lambda path: f"{limit}\n")
    assert (host_memory_mib() == 1) is (limit == "1048576")


def test_a_real_step_has_a_peak() -> None:
    def construct() -> Latte:
        return Latte(hidden_size=16, depth=2, num_heads=2, sample_size=8, num_frames=4)

    conditions = Conditions(Runtime(torch.device("cpu"), "float32", "math"), "ddpm", batch_size=2)
    subject = Subject(construct, Workload((4, 4, 8, 8)))
    assert peak_of_training_step(subject, conditions) > 0
    search = search_batch_size(subject, conditions, limit=2)
    assert [(trial.batch_size, trial.status) for trial in search.trials] == [(1, "fits"), (2, "fits")]
    assert search.largest_batch_size == 2


def test_on_a_cpu_the_search_stops_before_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "peak_of_training_step", lambda subject, conditions: 100.0 * conditions.batch_size)
    monkeypatch.setattr(batch_size, "host_memory_mib", lambda: 250.0)
    subject = Subject(torch.nn.Identity, Workload((4, 4, 8, 8)))
    conditions = Conditions(Runtime(torch.device("cpu"), "float32", "math"), "ddpm", batch_size=7)
    search = search_batch_size(subject, conditions, limit=1024)
    assert [trial.status for trial in search.trials] == ["fits", "fits", "refused"]
