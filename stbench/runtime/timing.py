"""Wall-clock time of work on a device: warmed up, synchronised, every sample kept.

Only `time_once` reads a clock, and it waits for the device on both sides of the work, so that a time without
synchronisation cannot be had. Results are a median and an interquartile range, not a mean: on a shared machine the
slow tail says more about the neighbours than about the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from stbench.records.sections import Timing
from stbench.records.statistics import median, spread
from stbench.runtime.failure import Failure, attempt, value_of
from stbench.runtime.load import WaitedShare

Work = Callable[[], object]

SETTLED = 0.10  # warm-up is over when two calls in a row differ by less than this share
WARMUP_SHARE = 1 / 3  # of the time allowed, before warm-up is given up as never settling
PRECISE = 0.05  # sampling may stop when the interquartile range is below this share of the median


def measure(
    work: Work, device: torch.device, *, what: str, min_samples: int, max_seconds: float, batch_size: int
) -> Timing:
    """Time one piece of work; see `attempt_interleaved`. An exception goes up."""
    timings = measure_interleaved(
        {what: work}, device, min_samples=min_samples, max_seconds=max_seconds, batch_size=batch_size
    )
    return timings[what]


def measure_interleaved(
    works: Mapping[str, Work], device: torch.device, *, min_samples: int, max_seconds: float, batch_size: int
) -> dict[str, Timing]:
    """Time several pieces of work in turn; see `attempt_interleaved`. An exception goes up at the end."""
    outcomes = attempt_interleaved(
        works, device, min_samples=min_samples, max_seconds=max_seconds, batch_size=batch_size
    )
    return {name: value_of(outcome) for name, outcome in outcomes.items()}


def attempt_interleaved(
    works: Mapping[str, Work], device: torch.device, *, min_samples: int, max_seconds: float, batch_size: int
) -> dict[str, Timing | Failure]:
    """Time several pieces of work in turn, so that a drift of the machine meets all of them alike.

    Args:
        works: what to call, by name.
        device: where the work runs; waited for before every reading of the clock.
        min_samples: samples of each that are taken in any case.
        max_seconds: no further round begins after this many seconds of sampling; sampling ends sooner once every
            interquartile range is below 5 % of its median. Warm-up may take a third of this on top.
        batch_size: clips that one call processes.

    Returns:
        The timing of each by name, or why it failed; a failure costs the others nothing.
    """
    first_calls = {
        name: attempt(_warm_up, work, device, WARMUP_SHARE * max_seconds / len(works)) for name, work in works.items()
    }
    settled = {name: works[name] for name, first in first_calls.items() if not isinstance(first, Failure)}
    with WaitedShare() as waited:
        taken = _sample_in_turn(settled, device, min_samples, max_seconds)
    outcomes: dict[str, Timing | Failure] = {}
    for name, first in first_calls.items():
        samples = first if isinstance(first, Failure) else taken[name]
        if isinstance(samples, Failure):
            outcomes[name] = samples
        else:
            outcomes[name] = timing_of(name, samples, batch_size, value_of(first), waited.value)
    return outcomes


def _sample_in_turn(
    works: Mapping[str, Work], device: torch.device, min_samples: int, max_seconds: float
) -> dict[str, list[float] | Failure]:
    """The seconds of each call of each piece of work, or what ended its calls."""
    samples: dict[str, list[float]] = {name: [] for name in works}
    failures: dict[str, Failure] = {}
    spent, rounds = 0.0, 0
    while samples:
        precise = all(len(taken) > 1 and spread(taken) <= PRECISE * median(taken) for taken in samples.values())
        if rounds >= min_samples and (precise or spent >= max_seconds):
            break
        # Every other round runs backwards, so that no work always follows the same one.
        for name in list(samples)[:: -1 if rounds % 2 else 1]:
            seconds = attempt(time_once, works[name], device)
            if isinstance(seconds, Failure):
                failures[name] = seconds
                del samples[name]
            else:
                samples[name].append(seconds)
                spent += seconds
        rounds += 1
    return {**samples, **failures}


def timing_of(
    what: str, samples: Sequence[float], batch_size: int, first_s: float = 0.0, waited_share: float | None = None
) -> Timing:
    """Summarise the samples of one piece of work.

    Args:
        what: name of the work.
        samples: seconds of each call after warm-up.
        batch_size: clips that one call processes.
        first_s: seconds of the very first call, which compiled, tuned and initialised.
        waited_share: see `WaitedShare`.
    """
    middle = median(samples)
    return Timing(
        what=what,
        samples=tuple(samples),
        median=middle,
        spread=spread(samples),
        batch_size=batch_size,
        clips_per_s=batch_size / middle,
        compile_s=max(0.0, first_s - middle),
        waited_share=waited_share,
    )


@dataclass
class Stopwatch:
    """Context manager that measures the seconds of its block, from an idle device to an idle device."""

    device: torch.device
    seconds: float = field(init=False)

    def __enter__(self) -> Stopwatch:
        _synchronize(self.device)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        _synchronize(self.device)
        self.seconds = time.perf_counter() - self._start


def time_once(work: Work, device: torch.device) -> float:
    """Seconds that one call takes, from an idle device to an idle device."""
    with Stopwatch(device) as watch:
        work()
    return watch.seconds


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _warm_up(work: Work, device: torch.device, max_seconds: float) -> float:
    """Call until two calls in a row agree or the time is up; the seconds of the first call."""
    durations = [time_once(work, device)]
    while sum(durations) < max_seconds:
        durations.append(time_once(work, device))
        before, last = durations[-2:]
        if abs(last - before) <= SETTLED * before:
            break
    return durations[0]
