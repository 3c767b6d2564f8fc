"""Verdicts on one metric after another, between the runs of a baseline and those of a candidate.

Counts are exact. A time differs beyond a factor and beyond noise, on one machine and under equal conditions only. A
distance differs under one protocol only, and where both sides have several seeds, beyond the noise between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stbench.records import statistics
from stbench.records.schema import Record, value_at
from stbench.reports.runs import flatten

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


def judge(base: Sequence[Record], new: Sequence[Record]) -> list[Verdict]:
    """Compare runs that belong together, one verdict a metric that at least one side has.

    Args:
        base: one run a seed.
        new: the runs of the same seeds, in the same order.
    """
    verdicts = [
        _status(base, new),
        _count(base, new, "params_total", "parameters"),
        _count(base, new, "gmacs", "GMACs"),
        _distance(base, new, "fvd"),
        _distance(base, new, "kvd"),
        _time(base, new, "forward", "forward (ms)"),
        _time(base, new, "train_step", "train step (ms)"),
        _memory(base, new),
    ]
    return [verdict for verdict in verdicts if verdict is not None]


def _status(base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare how many runs finished; nothing to say where all did."""
    unfinished = [record for record in (*base, *new) if not record.finished]
    if not unfinished:
        return None
    reasons = "; ".join(f"{record.run_id}: {record.status}, {record.reason}" for record in unfinished)
    in_base, in_new = (sum(record.finished for record in side) for side in (base, new))
    verdict = NOT_COMPARABLE if in_base == in_new else WORSE if in_new < in_base else BETTER
    return Verdict(RUNS_FINISHED, f"{in_base} of {len(base)}", f"{in_new} of {len(new)}", verdict, reasons)


def _count(base: Sequence[Record], new: Sequence[Record], name: str, metric: str) -> Verdict | None:
    in_base, in_new = ([record.counts.get(name) for record in side] for side in (base, new))
    first_base, first_new = _first(in_base), _first(in_new)
    if first_base is None or first_new is None:
        return _absent(metric, first_base, first_new)
    if any(one.config_hash != other.config_hash for one, other in zip(base, new, strict=True)):
        reason = "the configurations differ, so only the ratio is given"
        return Verdict(metric, first_base, first_new, NOT_COMPARABLE, reason)
    pairs = [pair for pair in zip(in_base, in_new, strict=True) if None not in pair]
    changed = next(((one, other) for one, other in pairs if one != other), None)
    return Verdict(metric, *changed, CHANGED) if changed else Verdict(metric, first_base, first_new, SAME)


def _first(values: Sequence[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _absent(metric: str, base: float | None, new: float | None) -> Verdict | None:
    """Return the verdict on a metric that a side lacks, or None where neither has it."""
    if base is None and new is None:
        return None
    side = "BASE" if base is None else "NEW"
    return Verdict(metric, base, new, NOT_COMPARABLE, f"{side} did not record it")


def _distance(base: Sequence[Record], new: Sequence[Record], name: str) -> Verdict | None:
    records = [*base, *new]
    detectors = sorted({record.quality["detector"] for record in records if record.quality.get("detector")})
    metric = f"{name.upper()}[{'/'.join(detectors)}]"
    base, new = _having(base, f"quality.{name}"), _having(new, f"quality.{name}")
    in_base, in_new = ([float(record.quality[name]) for record in side] for side in (base, new))
    if not in_base or not in_new:
        absent = _absent(metric, _mean(in_base), _mean(in_new))
        refused = sorted({record.quality["refused"] for record in records if record.quality.get("refused")})
        reason = "; ".join([absent.reason, *refused] if absent else refused)
        return Verdict(metric, _mean(in_base), _mean(in_new), NOT_COMPARABLE, reason) if reason else None
    if differing := _differing_protocol([*base, *new]):
        reason = f"the protocols differ: {differing}"
        return Verdict(metric, _mean(in_base), _mean(in_new), NOT_COMPARABLE, reason)
    beyond_noise = _kvd_beyond_noise if name == "kvd" else _beyond_noise
    return _lower_is_better(metric, statistics.mean(in_base), statistics.mean(in_new), beyond_noise(base, new, name))


def _having(side: Sequence[Record], path: str) -> list[Record]:
    """Return the runs that recorded a figure: one that failed before it has no say in it."""
    return [record for record in side if value_at(vars(record), path) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.mean(values) if values else None


def _differing_protocol(scored: Sequence[Record]) -> str:
    """Return the fields of the protocol that are not equal in all runs, or nothing where they share one hash."""
    hashes = {record.quality.get("protocol_hash") for record in scored}
    if len(hashes) == 1 and None not in hashes:
        return ""
    protocols = [flatten(record.quality.get("protocol") or {}) for record in scored]
    fields = sorted({key for protocol in protocols for key in protocol})
    differing = [_values(f"protocol.{key}", [protocol.get(key) for protocol in protocols]) for key in fields]
    return ", ".join(filter(None, differing)) or "protocol_hash"


def _values(name: str, values: Sequence[Any]) -> str:
    """Return a field with its values where these differ, else nothing."""
    distinct = list(dict.fromkeys(map(str, values)))
    return f"{name} ({' / '.join(distinct)})" if len(distinct) > 1 else ""


def _beyond_noise(base: Sequence[Record], new: Sequence[Record], name: str) -> bool:
    """Whether two sides differ beyond the noise between seeds; with one seed that noise is not known."""
    in_base, in_new = ([float(record.quality[name]) for record in side] for side in (base, new))
    return min(len(base), len(new)) < 2 or statistics.means_differ(in_base, in_new)


def _kvd_beyond_noise(base: Sequence[Record], new: Sequence[Record], name: str) -> bool:
    """Whether KVDs differ beyond noise: between seeds, or by their own intervals where a side has one seed."""
    if min(len(base), len(new)) > 1:
        return _beyond_noise(base, new, name)
    in_base, in_new = base[0].quality.get("kvd_interval"), new[0].quality.get("kvd_interval")
    if not in_base or not in_new:
        return True
    return bool(in_new[0] > in_base[1] or in_new[1] < in_base[0])


def _lower_is_better(metric: str, base: float, new: float, beyond_noise: bool) -> Verdict:
    """Return the verdict on two figures; an unbiased estimate may be zero or less, where a factor means nothing."""
    if not beyond_noise or (min(base, new) > 0 and not statistics.beyond_factor(base, new)):
        return Verdict(metric, base, new, SAME)
    return Verdict(metric, base, new, WORSE if new > base else BETTER)


def _time(base: Sequence[Record], new: Sequence[Record], name: str, metric: str) -> Verdict | None:
    base, new = _having(base, f"timing.{name}.samples"), _having(new, f"timing.{name}.samples")
    in_base, in_new = _samples_ms(base, name), _samples_ms(new, name)
    median_base, median_new = _median(in_base), _median(in_new)
    if median_base is None or median_new is None:
        return _absent(metric, median_base, median_new)
    conditions = (*CONDITIONS, f"timing.{name}.what", f"timing.{name}.batch_size")
    if differing := _differing_conditions([*base, *new], conditions):
        return Verdict(metric, median_base, median_new, NOT_COMPARABLE, differing)
    return _lower_is_better(metric, median_base, median_new, statistics.differs(in_base, in_new))


def _samples_ms(side: Sequence[Record], name: str) -> list[float]:
    return [1e3 * sample for record in side for sample in record.timing[name]["samples"]]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _memory(base: Sequence[Record], new: Sequence[Record]) -> Verdict | None:
    """Compare the device's peak where both sides have one, else the process's."""
    on_device = all(_having(side, "memory.peak_allocated_mib") for side in (base, new))
    name, metric = ("peak_allocated_mib", "peak allocated (MiB)") if on_device else ("peak_rss_mib", "peak RSS (MiB)")
    base, new = _having(base, f"memory.{name}"), _having(new, f"memory.{name}")
    median_base, median_new = (_median([record.memory[name] for record in side]) for side in (base, new))
    if median_base is None or median_new is None:
        return _absent(metric, median_base, median_new)
    if differing := _differing_conditions([*base, *new], CONDITIONS):
        return Verdict(metric, median_base, median_new, NOT_COMPARABLE, differing)
    return _lower_is_better(metric, median_base, median_new, beyond_noise=True)


def _differing_conditions(records: Sequence[Record], conditions: Sequence[str]) -> str:
    contents = [vars(record) for record in records]
    if any(value_at(content, "machine.fingerprint") is None for content in contents):
        return "machine.fingerprint is not recorded"
    fields = [_values(path, [value_at(content, path) for content in contents]) for path in conditions]
    differing = ", ".join(filter(None, fields))
    return f"the conditions differ: {differing}" if differing else ""
