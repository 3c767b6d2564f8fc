"""Whether the order of two arms holds at half and at twice their learning rates, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stbench.records.learning_rates import NEARBY, RATE, RunsAtRate, by_rate, check_orders
from stbench.records.schema import Record
from stbench.reports.labels import label_configurations
from stbench.reports.runs import ReportedRuns
from stbench.reports.trade_offs import heading, rivals_of


def orders_at_other_rates(reported: ReportedRuns) -> list[str]:
    """Return a sentence for each measure and each pair of arms that were run at three rates, each twice the last."""
    sentences = []
    for rivals in rivals_of(reported.groups):
        runs = [record for group in rivals.judged for record in group.records]
        measured = heading(rivals.measure, rivals.judged) + rivals.where
        for (first, second), check in check_orders(_arms(runs), rivals.measure, reported.cards).items():
            verdicts = ", ".join(check.decisions[factor].verdict for factor in NEARBY)
            sentences.append(f"By {measured}, {second} against {first}: {verdicts} ({check.answer}).")
    return sentences


def _arms(records: Sequence[Record]) -> Mapping[str, RunsAtRate]:
    """The runs of each arm by their learning rates, by a label that leaves the rate out."""
    arms = {str(place): runs for place, runs in enumerate(by_rate(records))}
    labels = label_configurations({key: _but_rate(next(iter(runs.values()))[0]) for key, runs in arms.items()})
    return {labels[key]: runs for key, runs in arms.items()}


def _but_rate(record: Record) -> dict[str, object]:
    section, name = RATE.split(".")
    settings = {key: value for key, value in record.config[section].items() if key != name}
    return {**record.config, section: settings}
