"""Verdicts on one metric after another, between the runs of a baseline and those of a candidate.

Counts are exact. A time differs beyond a factor and beyond noise, on one machine and under equal conditions only. A
distance differs under one protocol only, and where both sides have several seeds, beyond the noise between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stbench.records import statistics
from stbench.records.protocol import difference
from stbench.records.schema import Record, value_at

BETTER, WORSE, SAME, CHANGED, NOT_COMPARABLE = "better", "worse", "same", "changed", "not comparable"
FAILING = (WORSE, CHANGED)
RUNS_FINISHED = "runs finished"

# Fields of the record that must be equal before a time or a peak of memory can be compared.
CONDITIONS = (
    "machine.fingerprint",
    "software.torch",
    "config.precision",
    "config.dataset.arguments.image_size",
    "config.dataset.arguments.num_frames",
    "config.train.batch_size",
)


@dataclass(frozen=True)
class Verdict:
    """What became of one metric; `ratio` is new over base, and `reason` says why there is no verdict, or adds to it."""

    metric: str
    base: float | str | None
    new: float | str | None
    verdict: str
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """New over base, where both are positive numbers."""
        if isinstance(self.base, str) or isinstance(self.new, str) or not self.base or not self.new:
            return None
        return self.new / self.base if self.base > 0 and self.new > 0 else None


@dataclass(frozen=True)
class Metric:
    """A figure of which less is better."""

    title: str
    path: str  # of the figure, or of its samples, in a record
    centre: Callable[[Sequence[float]], float]  # of all values of a side
    scale: float = 1.0  # from the record's unit to the title's


def judge(base: Sequence[Record], new: Sequence[Record]) -> list[Verdict]:
    """Compare runs that belong together, one verdict a metric that at least one side has.

    Args:
        base: one run a seed.
        new: the runs of the same seeds, in the same order.
    """
    detectors = "/".join(sorted({record.detector for record in (*base, *new) if record.detector}))
    # Peak memory is the device's where both sides have one, else the process's.
    on_device = all(_values(side, "memory.peak_allocated_mib") for side in (base, new))
    peak, peak_path = ("allocated", "peak_allocated_mib") if on_device else ("RSS", "peak_rss_mib")
    mean, median = statistics.mean, statistics.median
    measured = (
        Metric(f"FVD[{detectors}]", "quality.fvd", mean),
        Metric(f"KVD[{detectors}]", "quality.kvd", mean),
        Metric("forward (ms)", "timing.forward.samples", median, scale=1e3),
        Metric("train step (ms)", "timing.train_step.samples", median, scale=1e3),
        Metric(f"peak {peak} (MiB)", f"memory.{peak_path}", median),
    )
    verdicts = [
        _finished(base, new),
        _count("parameters", "counts.params_total", base, new),
        _count("GMACs", "counts.gmacs", base, new),
        *(_measured(metric, base, new) for metric in measured),
    ]
    return [verdict for verdict in verdicts if verdict is not None]


def _finished(base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare how many runs finished; nothing to say where all did."""
    unfinished = [record for record in (*base, *new) if not record.finished]
    if not unfinished:
        return None
    reasons = "; ".join(f"{record.run_id}: {record.status}, {record.reason}" for record in unfinished)
    in_base, in_new = (sum(record.finished for record in side) for side in (base, new))
    verdict = NOT_COMPARABLE if in_base == in_new else WORSE if in_new < in_base else BETTER
    return Verdict(RUNS_FINISHED, f"{in_base} of {len(base)}", f"{in_new} of {len(new)}", verdict, reasons)


def _count(title: str, path: str, base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare exact figures, run by run: any difference between runs of one configuration is a change."""
    in_base, in_new = ([value_at(record, path) for record in side] for side in (base, new))
    first_base, first_new = (next((value for value in side if value is not None), None) for side in (in_base, in_new))
    if first_base is None or first_new is None:
        return _absent(title, first_base, first_new)
    if any(one.config_hash != other.config_hash for one, other in zip(base, new, strict=True)):
        reason = "the configurations differ, so only the ratio is given"
        return Verdict(title, first_base, first_new, NOT_COMPARABLE, reason)
    pairs = [pair for pair in zip(in_base, in_new, strict=True) if None not in pair]
    changed = next(((one, other) for one, other in pairs if one != other), None)
    return Verdict(title, *changed, CHANGED) if changed else Verdict(title, first_base, first_new, SAME)


def _measured(metric: Metric, base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare what varies from run to run; a run that failed before the figure was taken has no say in it."""
    everything = (*base, *new)
    base, new = ([record for record in side if _values([record], metric.path)] for side in (base, new))
    in_base, in_new = (
        metric.centre([metric.scale * value for value in _values(side, metric.path)]) if side else None
        for side in (base, new)
    )
    if in_base is None or in_new is None:
        refused = {record.quality.refused for record in everything if record.quality and record.quality.refused}
        return _absent(metric.title, in_base, in_new, sorted(refused) if metric.path.startswith("quality.") else [])
    if obstacle := _obstacle([*base, *new], metric.path):
        return Verdict(metric.title, in_base, in_new, NOT_COMPARABLE, obstacle)
    # An unbiased estimate may be zero or less, where a factor means nothing.
    within_factor = min(in_base, in_new) > 0 and not statistics.beyond_factor(in_base, in_new)
    if within_factor or not _beyond_noise(base, new, metric.path):
        return Verdict(metric.title, in_base, in_new, SAME)
    return Verdict(metric.title, in_base, in_new, WORSE if in_new > in_base else BETTER)


def _values(side: Sequence[Record], path: str) -> list[float]:
    """The figure of every run that has it, or all of its samples where it has several."""
    found = [value for record in side if (value := value_at(record, path)) is not None]
    return [value for each in found for value in (each if isinstance(each, tuple) else (each,))]


def _absent(title: str, base: float | None, new: float | None, refused: Sequence[str] = ()) -> Verdict | None:
    """Return the verdict on a metric that a side lacks, or None where neither has it nor says why."""
    unrecorded = [f"{'BASE' if base is None else 'NEW'} did not record it"] if (base, new) != (None, None) else []
    reasons = [*unrecorded, *refused]
    return Verdict(title, base, new, NOT_COMPARABLE, "; ".join(reasons)) if reasons else None


def _obstacle(runs: Sequence[Record], path: str) -> str:
    """Why a figure of these runs cannot be compared: what differs, with its values; nothing where they were alike."""
    if path.startswith("quality."):
        qualities = [record.quality for record in runs if record.quality]
        if len({quality.protocol_hash for quality in qualities}) == 1:
            return ""
        protocols = [quality.protocol for quality in qualities]
        differing_fields = sorted({key for other in protocols for key in difference(protocols[0], other)})
        fields = {f"protocol.{key}": [getattr(each, key) for each in protocols] for key in differing_fields}
    else:
        if any(record.machine is None for record in runs):
            return "machine.fingerprint is not recorded"
        timing = path.removesuffix(".samples")
        conditions = (*CONDITIONS, *((f"{timing}.what", f"{timing}.batch_size") if timing != path else ()))
        fields = {condition: [value_at(record, condition) for record in runs] for condition in conditions}
    distinct = {name: list(dict.fromkeys(map(str, values))) for name, values in fields.items()}
    differing = ", ".join(f"{name} ({' / '.join(values)})" for name, values in distinct.items() if len(values) > 1)
    if path.startswith("quality."):
        return f"the protocols differ: {differing or 'protocol_hash'}"
    return f"the conditions differ: {differing}" if differing else ""


def _beyond_noise(base: Sequence[Record], new: Sequence[Record], path: str) -> bool:
    """Whether two sides differ beyond the noise of times between their samples, or of distances between seeds.

    A peak of memory has no noise. With one seed that of a distance is not known; a KVD then has its own interval.
    """
    if path.startswith("memory."):
        return True
    if path.startswith("timing."):
        return statistics.differs(_values(base, path), _values(new, path))
    if min(len(base), len(new)) > 1:
        return statistics.means_differ(_values(base, path), _values(new, path))
    in_base, in_new = (value_at(side[0], f"{path}_interval") for side in (base, new))
    if path != "quality.kvd" or not in_base or not in_new:
        return True
    return bool(in_new[0] > in_base[1] or in_new[1] < in_base[0])
