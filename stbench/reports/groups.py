"""Runs that differ in their seed alone, judged under one protocol, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stbench.records.measures import Measure
from stbench.records.schema import Record, value_at
from stbench.records.sections import CostConditions
from stbench.records.statistics import mean, summarise_seeds, under_load


@dataclass(frozen=True)
class Estimate:
    """A score over seeds with its 95 % interval.

    With several seeds that is the t interval of their mean. With one it is the record's own, which tells what its
    clips leave open and nothing of other seeds.
    """

    values: tuple[float, ...]  # of each seed, of one that was run repeatedly the mean
    mean: float
    sd: float | None = None  # None for one seed
    interval: tuple[float, float] | None = None
    interval_of: Literal["seeds", "clips"] | None = None


@dataclass(frozen=True)
class StepTime:
    """The time of one step: the mean over runs of each one's median, as `stbench compare` takes it."""

    ms: float
    clips: int  # of a step
    waited_share: float | None  # the largest of any seed

    @property
    def under_load(self) -> bool:
        """Whether other work kept the machine busy, so that the time is no figure of the network's."""
        return under_load(self.waited_share)


@dataclass(frozen=True)
class Group:
    """One configuration under one protocol: a row of a table, a mark in a plot."""

    label: str
    records: tuple[Record, ...]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration; its seed is that of the first run."""
        return self.records[0].config

    @property
    def seeds(self) -> list[int]:
        """The seeds that were judged, in order, or of all runs where none was; each once."""
        judged = [record for record in self.records if record.quality]
        seeds = {record.config.get("seed") for record in judged or self.records}
        return sorted(seed for seed in seeds if seed is not None)

    @property
    def status(self) -> str:
        """How many runs came to which end, e.g. `2 finished, 1 oom`."""
        return ", ".join(f"{count} {status}" for status, count in self.statuses.items())

    @property
    def statuses(self) -> Counter[str]:
        """How many runs came to which end."""
        return Counter(record.status for record in self.records)

    @property
    def protocol_hash(self) -> str | None:
        """Of the protocol that the runs were judged by; None where none was."""
        return next((record.quality.protocol_hash for record in self.records if record.quality), None)

    def condition(self, measure: Measure) -> Hashable:
        """What must be equal where a figure is compared; None where no run has it."""
        return next((measure.condition(record) for record in self.records if measure.of(record) is not None), None)

    @property
    def detector(self) -> str | None:
        """The detector that judged the runs; None where none did."""
        return next((record.detector for record in self.records if record.detector), None)

    @property
    def conditions(self) -> tuple[CostConditions, ...]:
        """What costs were measured under, but for the load; costs of several have no common figure."""
        found = (record.conditions for record in self.records if record.conditions)
        return tuple(dict.fromkeys(each.but_load for each in found))

    def values(self, path: str) -> list[Any]:
        """The field at a dotted path of every record that has it."""
        return [value for record in self.records if (value := value_at(record, path)) is not None]

    def by_seed(self, figure: Callable[[Record], float | None]) -> dict[int, float]:
        """A figure of each training seed, of one that was run repeatedly the mean; seeds without it are left out."""
        values: dict[int, list[float]] = {}
        for record in self.records:
            if (value := figure(record)) is not None:
                values.setdefault(record.config.get("seed", 0), []).append(value)
        return {seed: mean(repeated) for seed, repeated in values.items()}

    def score(self, name: str) -> Estimate | None:
        """A score of the quality section over the seeds; None where no run has it."""
        return self.estimate(f"quality.{name}")

    def estimate(self, path: str) -> Estimate | None:
        """A figure that moves with the seed, at a dotted path of the records; None where no run has it."""
        values = tuple(self.by_seed(lambda record: value_at(record, path)).values())
        if not values:
            return None
        summary = summarise_seeds(values)
        if summary.low is not None and summary.high is not None:
            return Estimate(values, summary.mean, summary.sd, (summary.low, summary.high), "seeds")
        intervals = self.values(f"{path}_interval")
        return Estimate(values, values[0], None, *((intervals[0], "clips") if len(intervals) == 1 else (None, None)))

    def time(self, step: str) -> StepTime | None:
        """The time of a step: of the runs on a quiet machine, or where none was quiet of all.

        None where no run was timed, or where the runs were timed under unequal conditions.
        """
        timings = self.values(f"timing.{step}")
        if not timings or len(self.conditions) > 1:
            return None
        chosen = [each for each in timings if not under_load(each.waited_share)] or timings
        shares = [each.waited_share for each in chosen if each.waited_share is not None]
        return StepTime(1e3 * mean([each.median for each in chosen]), chosen[0].batch_size, max(shares, default=None))

    def figure(self, path: str) -> float | None:
        """The mean of a field that seeds leave alone, or nearly: a count, a peak of memory."""
        values = self.values(path)
        return mean([float(value) for value in values]) if values else None

    def cost(self, path: str) -> float | None:
        """The same of what depends on the machine: None where the runs were made under unequal conditions."""
        return self.figure(path) if len(self.conditions) < 2 else None


def best_of(groups: Sequence[Group], most: int) -> list[Group]:
    """Return at most so many groups, in their order: those with the lowest figure of the first kind that any has."""
    for path in ("validation.loss", "quality.fvd", "training.loss_final"):
        ranked = [(score.mean, place) for place, group in enumerate(groups) if (score := group.estimate(path))]
        if ranked:
            places = [place for _, place in sorted(ranked)]
            rest = [place for place in range(len(groups)) if place not in places]
            return [groups[place] for place in sorted([*places, *rest][:most])]
    return list(groups[:most])


def conditions_apart(groups: Iterable[Group]) -> dict[CostConditions, str]:
    """Return all conditions that costs of these groups were measured under, and what sets each apart from the others.

    Costs of unequal conditions are not compared. The words are empty where all are equal.
    """
    found = list(dict.fromkeys(each for group in groups for each in group.conditions))
    names = CostConditions.__dataclass_fields__
    differing = [name for name in names if len({getattr(each, name) for each in found}) > 1]
    return {each: ", ".join(f"{name} {getattr(each, name)}" for name in differing) for each in found}


def group_runs(labelled: Iterable[tuple[str, Record]]) -> list[Group]:
    """Put runs of one configuration together that were judged and validated alike, in the order of their appearance.

    A run that failed before that was known counts with the others of its configuration.
    """
    labelled = list(labelled)
    known: dict[str, Hashable] = {}
    for _, record in labelled:
        if record.quality:
            known.setdefault(record.group_hash, _judged_by(record))
    groups: dict[tuple[str, Hashable], list[tuple[str, Record]]] = {}
    for label, record in labelled:
        judged_by = _judged_by(record) if record.quality else known.get(record.group_hash)
        groups.setdefault((record.group_hash, judged_by), []).append((label, record))
    return [Group(members[0][0], tuple(record for _, record in members)) for members in groups.values()]


def _judged_by(record: Record) -> Hashable:
    """The hashes of the protocols of a run's quality and of its validation loss."""
    return tuple(section and section.protocol_hash for section in (record.quality, record.validation))
