"""`stbench study seeds`: how far the figures of one arm spread, from runs that differ in their seed alone.

Three spreads are told apart: between training seeds, between sampling seeds of the same networks, and between draws of
clips. Only the first is evidence in a comparison of arms; `records.noise_card` keeps it for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone

from stbench.errors import StbenchError
from stbench.records.measures import MEASURES, Measure
from stbench.records.noise_card import CardRun, Noise, NoiseCard, training_of
from stbench.records.power import two_sided
from stbench.records.protocol import difference
from stbench.records.schema import Record, flatten, value_at
from stbench.records.statistics import CONFIDENCE, NUM_GROUPS, mean
from stbench.records.variance import correlation_of_seeds, pooled_within, sampled_again

MIN_CARD_SEEDS = 10
JUDGED = tuple(measure for measure in MEASURES.values() if measure.kind in ("quality", "validation"))

Arms = Mapping[str, Mapping[int, Record]]
"""The trained runs of each arm by their seed, the arm with the most seeds first."""
Samplings = Mapping[tuple[str, int], Sequence[Record]]
"""Of each arm and seed the record of its run, and those of its evaluations with other sampling seeds."""


def make_card(records: Sequence[Record]) -> NoiseCard:
    """Measure the noise of an arm, or of several, from finished runs.

    Args:
        records: runs that differ in their seed alone, of one arm ten or more; and evaluations of some of them with
            other sampling seeds (`stbench evaluate RUN eval.seed=1`). Further arms tell how far equal seeds of
            different arms go together.

    Raises:
        StbenchError: too few seeds, or runs of several trainings or protocols.
    """
    finished = [record for record in records if record.finished]
    arms = _arms([record for record in finished if not record.config.get("trained_as")])
    most = next(iter(arms.values()), {})
    if len(most) < MIN_CARD_SEEDS:
        of = f" of {next(iter(arms))}" if arms else ""
        raise StbenchError(
            f"a noise card takes {MIN_CARD_SEEDS} finished seeds of one arm, and there are {len(most)}{of}"
        )
    first = next(iter(most.values()))
    _check_training([record for arm in arms.values() for record in arm.values()])
    samplings = _samplings(arms, [record for record in finished if record.config.get("trained_as")])
    found = {measure.name: _noise(measure, arms, samplings) for measure in JUDGED}
    return NoiseCard(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        training=training_of(first.config),
        runs=tuple(_card_run(*key, record) for key, of_network in samplings.items() for record in of_network),
        noise={name: noise for name, noise in found.items() if noise},
        machine=first.machine,
        software=first.software,
    )


def _arms(trained: Iterable[Record]) -> Arms:
    """Runs by arm and seed; of a seed that was run twice the first."""
    groups: dict[str, dict[int, Record]] = {}
    for record in sorted(trained, key=lambda each: int(each.config.get("seed", 0))):
        groups.setdefault(record.group_hash, {}).setdefault(int(record.config.get("seed", 0)), record)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    names = [str(value_at(next(iter(runs.values())).config, "variant.name")) for _, runs in ordered]
    labels = [
        f"{name} {key[:6]}" if names.count(name) > 1 else name for name, (key, _) in zip(names, ordered, strict=True)
    ]
    return {label: runs for label, (_, runs) in zip(labels, ordered, strict=True)}


def _check_training(trained: Sequence[Record]) -> None:
    """Refuse runs of which no single card could tell."""
    first, *others = (
        {name: str(value) for name, value in flatten(training_of(record.config)).items()} for record in trained
    )
    for record, other in zip(trained[1:], others, strict=True):
        differing = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if differing:
            name = differing[0]
            raise StbenchError(
                f"{record.run_id}: {name} is {other.get(name)}, and {first.get(name)} in {trained[0].run_id}: "
                "a noise card is of one dataset and one budget of training"
            )


def _samplings(arms: Arms, evaluated: Sequence[Record]) -> Samplings:
    """Every network's records; an evaluation that differs in more than its sampling seed is of no use here."""
    found: dict[tuple[str, int], list[Record]] = {}
    for label, runs in arms.items():
        for seed, run in runs.items():
            again = [
                record
                for record in evaluated
                if (record.config["trained_as"], record.config.get("seed")) == (run.group_hash[:12], seed)
                and run.quality
                and record.quality
                and difference(run.quality.protocol, record.quality.protocol).keys() == {"sampling_seed"}
            ]
            found[label, seed] = [run, *again]
    return found


def _card_run(arm: str, seed: int, record: Record) -> CardRun:
    figures = {measure.name: value for measure in JUDGED if (value := measure.of(record)) is not None}
    return CardRun(arm=arm, seed=seed, sampling_seed=_sampling_seed(record), figures=figures)


def _sampling_seed(record: Record) -> int:
    return record.quality.protocol.sampling_seed if record.quality else 0


def _noise(measure: Measure, arms: Arms, samplings: Samplings) -> Noise | None:
    """The noise of a measure; None where too few runs have it, or where it never moves: a score of 0 in every run."""
    groups = [_on_scale(measure, runs) for runs in arms.values()]
    variance, freedom = pooled_within([list(group.values()) for group in groups if group])
    if freedom < MIN_CARD_SEEDS - 1 or variance == 0:
        return None
    runs = [run for arm in arms.values() for run in arm.values() if measure.of(run) is not None]
    conditions = {measure.condition(run) for run in runs}
    if len(conditions) > 1:
        raise StbenchError(f"{measure.title}: the runs were judged under {len(conditions)} protocols: expected one")
    table = _sampled_table(measure, samplings) if measure.kind == "quality" else []
    sampling, apart = sampled_again(table) if table else (None, None)
    together = correlation_of_seeds(groups)
    return Noise(
        condition=str(conditions.pop()),
        mean=mean([value for run in next(iter(arms.values())).values() if (value := measure.of(run)) is not None]),
        sd=math.sqrt(variance),
        freedom=freedom,
        training_sd=None if apart is None else math.sqrt(max(0.0, variance - apart)),
        sampling_sd=None if sampling is None else math.sqrt(sampling),
        sampled_again=(len(table), len(table[0])) if table else None,
        clips_sd=_clips_sd(measure, runs),
        correlation=together and together[0],
        correlation_low=together and together[1],
    )


def _on_scale(measure: Measure, runs: Mapping[int, Record]) -> dict[int, float]:
    """The figures of an arm's seeds on the scale of the test; what has no logarithm there is left out."""
    figures = {seed: value for seed, run in runs.items() if (value := measure.of(run)) is not None}
    if not measure.positive:
        return figures
    return {seed: math.log(value) for seed, value in figures.items() if value > 0}


def _sampled_table(measure: Measure, samplings: Samplings) -> list[list[float]]:
    """Figures of the networks that were sampled again, at the sampling seeds that all of these have; [] for too few."""
    rows = [
        _on_scale(measure, {_sampling_seed(record): record for record in records})
        for records in samplings.values()
        if len(records) > 1
    ]
    shared = sorted(set.intersection(*map(set, rows))) if len(rows) > 1 else []
    return [[row[seed] for seed in shared] for row in rows] if len(shared) > 1 else []


def _clips_sd(measure: Measure, runs: Sequence[Record]) -> float | None:
    """Root mean square over runs of the standard error that the intervals of the records tell."""
    errors = []
    for run in runs:
        interval = value_at(run, f"{measure.path}_interval")
        figure = measure.of(run)
        if interval and figure:
            half = (interval[1] - interval[0]) / 2 * measure.scale
            errors.append(half / two_sided(1 - CONFIDENCE, NUM_GROUPS - 1) / (figure if measure.positive else 1))
    return math.sqrt(mean([error**2 for error in errors])) if errors else None
