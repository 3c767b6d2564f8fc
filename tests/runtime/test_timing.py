"""Timing with a clock that the test moves: what is called when, what is kept, and when sampling stops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from stbench.runtime import timing
from stbench.runtime.failure import Failure
from stbench.runtime.timing import attempt_interleaved, measure, measure_interleaved, time_once, timing_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Clock:
    """A clock that only moves when work is done, and a log of everything that happened."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def read(self) -> float:
        self.log.append("clock")
        return self.now

    def work(self, durations: Iterator[float], name: str = "work") -> Callable[[], None]:
        def call() -> None:
            self.log.append(name)
            self.now += next(durations)

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", clock.read)
    monkeypatch.setattr(timing.WaitedShare, "__exit__", lambda self, *exception: setattr(self, "value", 0.25))
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: clock.log.append(f"synchronize {device}"))
    return clock


def after(*first: float, then: float = 1.0) -> Iterator[float]:
    yield from first
    while True:
        yield then


def test_the_device_is_waited_for_before_each_reading(clock: Clock) -> None:
    assert time_once(clock.work(after(2.5)), GPU) == 2.5
    assert clock.log == ["synchronize cuda", "clock", "work", "synchronize cuda", "clock"]


def test_every_clock_reading_of_a_measurement_is_synchronised(clock: Clock) -> None:
    measure(clock.work(after(9.0)), GPU, what="step", min_samples=4, max_seconds=10, batch_size=1)
    before_clock = {clock.log[i - 1] for i, entry in enumerate(clock.log) if entry == "clock"}
    assert before_clock == {"synchronize cuda"}


def test_no_synchronisation_on_a_cpu(clock: Clock) -> None:
    time_once(clock.work(after()), CPU)
    assert clock.log == ["clock", "work", "clock"]


def test_warm_up_is_kept_apart_and_compilation_is_its_excess(clock: Clock) -> None:
    work = clock.work(after(30.0, 5.0, 2.0, 2.0, then=2.0))
    taken = measure(work, CPU, what="step", min_samples=5, max_seconds=1000, batch_size=8)
    assert taken == timing_of("step", [2.0] * 5, batch_size=8, first_s=30.0, waited_share=0.25)
    assert taken.compile_s == 28.0
    assert clock.now == 39.0 + 5 * 2.0  # warm-up and samples


def test_warm_up_gives_up_on_work_that_never_settles(clock: Clock) -> None:
    """Durations that double for ever: a third of 90 s is used up after 1 + 2 + 4 + 8 + 16 s."""
    work = clock.work(2.0**i for i in range(100))
    taken = measure(work, CPU, what="step", min_samples=1, max_seconds=90, batch_size=1)
    assert clock.now - sum(taken.samples) == 31


def test_work_longer_than_the_time_allowed_is_still_sampled(clock: Clock) -> None:
    taken = measure(clock.work(after(then=50.0)), CPU, what="step", min_samples=3, max_seconds=10, batch_size=1)
    assert taken.samples == (50.0,) * 3
    assert clock.now == 50 + 3 * 50


def test_sampling_goes_on_while_it_is_noisy_and_there_is_time(clock: Clock) -> None:
    def noisy() -> Iterator[float]:
        while True:
            yield from (1.0, 3.0)

    taken = measure(clock.work(noisy()), CPU, what="step", min_samples=2, max_seconds=100, batch_size=1)
    assert sum(taken.samples) >= 100
    assert taken.median == 2
    assert taken.spread == 2
    assert measure(clock.work(after()), CPU, what="x", min_samples=2, max_seconds=100, batch_size=1).samples == (1, 1)


def test_candidates_take_turns_in_alternating_order(clock: Clock) -> None:
    works = {name: clock.work(after(then=duration), name) for name, duration in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    taken = measure_interleaved(works, CPU, min_samples=3, max_seconds=0, batch_size=1)
    assert {name: one.samples for name, one in taken.items()} == {"a": (1.0,) * 3, "b": (2.0,) * 3, "c": (3.0,) * 3}
    assert [entry for entry in clock.log if entry != "clock"] == [*"abc", *"abc", *"cba", *"abc"]
    assert [one.what for one in taken.values()] == ["a", "b", "c"]


def test_summary_of_samples_as_a_record_keeps_it() -> None:
    taken = timing_of("train_step", [1.0, 2.0, 3.0, 4.0, 10.0], batch_size=5, first_s=3.5)
    assert dataclasses.asdict(taken) == {
        "what": "train_step",
        "samples": (1.0, 2.0, 3.0, 4.0, 10.0),
        "median": 3.0,
        "spread": 2.0,
        "unit": "s",
        "batch_size": 5,
        "clips_per_s": 5 / 3,
        "compile_s": 0.5,
        "waited_share": None,
    }


def test_a_single_sample_has_no_spread() -> None:
    assert timing_of("step", [1.5], batch_size=1).spread == 0


def test_a_first_call_faster_than_the_others_compiled_nothing() -> None:
    assert timing_of("step", [1.5], batch_size=1, first_s=1.0).compile_s == 0


def test_real_work_on_a_real_clock() -> None:
    x = torch.zeros(16, 16)
    taken = measure(lambda: x @ x, CPU, what="product", min_samples=3, max_seconds=0.01, batch_size=1)
    assert len(taken.samples) >= 3
    assert min(taken.samples) > 0


def fails_after(calls: int, work: Callable[[], None]) -> Callable[[], None]:
    remaining = iter(range(calls))

    def call() -> None:
        if next(remaining, None) is None:
            raise RuntimeError("broken")
        work()

    return call


def test_a_failure_takes_the_place_of_a_timing_and_costs_the_others_nothing(clock: Clock) -> None:
    durations = {name: clock.work(after()) for name in ("a", "b", "c")}
    works = {"a": durations["a"], "b": fails_after(0, durations["b"]), "c": fails_after(3, durations["c"])}
    taken = attempt_interleaved(works, CPU, min_samples=4, max_seconds=0, batch_size=1)
    assert taken == {
        "a": timing_of("a", [1.0] * 4, batch_size=1, first_s=1.0, waited_share=0.25),
        "b": Failure("failed", "broken", RuntimeError()),
        "c": Failure("failed", "broken", RuntimeError()),
    }
    assert list(taken) == ["a", "b", "c"]


def test_where_timings_are_asked_for_a_failure_goes_up(clock: Clock) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        measure(fails_after(1, clock.work(after())), CPU, what="x", min_samples=2, max_seconds=0, batch_size=1)
