"""What a comparison consists of, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from stbench.errors import CheckFailed, NotComparable
from stbench.reports.comparison.verdicts import BETTER, FAILING, NOT_COMPARABLE, RUNS_FINISHED, WORSE, Verdict


@dataclass(frozen=True)
class Cell:
    """Runs that were compared with each other, one a seed on each side, and the verdicts.

    Args:
        name: what was compared with what.
        base: names of the runs.
        new: names of the runs of the same seeds, in the same order.
        gated: whether a worse or changed metric is a regression.
        differences: fields of the configuration that differ, with their values.
        verdicts: one a metric.
    """

    name: str
    base: list[str]
    new: list[str]
    gated: bool
    differences: list[str]
    verdicts: list[Verdict]


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared, what could not be paired, and what follows from it.

    Args:
        cells: what was compared.
        missing: runs of the baseline that the candidate lacks: a failed check.
        added: runs that only the candidate has.
    """

    cells: list[Cell]
    missing: list[str]
    added: list[str]

    @property
    def verdicts(self) -> list[Verdict]:
        """Every verdict, one configuration after another."""
        return [verdict for cell in self.cells for verdict in cell.verdicts]

    @property
    def regressions(self) -> list[str]:
        """Metrics of variants compared with themselves that became worse or changed, and runs that no longer finish."""
        return [
            f"{cell.name}: {verdict.metric} {verdict.verdict}"
            for cell in self.cells
            for verdict in cell.verdicts
            if verdict.verdict in FAILING and (cell.gated or verdict.metric == RUNS_FINISHED)
        ]

    @property
    def exit_status(self) -> int:
        """0 fine; 1 a regression or a missing run; 4 when not one metric could be compared."""
        if self.regressions or self.missing:
            return CheckFailed.exit_status
        compared = any(verdict.verdict != NOT_COMPARABLE for verdict in self.verdicts)
        return 0 if compared else NotComparable.exit_status

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        if self.exit_status == NotComparable.exit_status:
            return f"Not comparable: {'; '.join(self.obstacles) or 'neither side recorded a result'}."
        if self.regressions:
            return f"{_counted(len(self.regressions), 'regression')}: {'; '.join(self.regressions)}."
        if self.missing:
            return f"{_counted(len(self.missing), 'run')} of the baseline missing: {', '.join(self.missing)}."
        if not any(cell.gated for cell in self.cells):
            metrics = {kind: [v.metric for v in self.verdicts if v.verdict == kind] for kind in (BETTER, WORSE)}
            tallied = [f"{kind} in {', '.join(dict.fromkeys(names))}" for kind, names in metrics.items() if names]
            outcome = "; ".join(tallied) or "no difference in what could be compared"
            return f"A candidate against a baseline: {outcome}."
        return "No regression" + (" in what could be compared." if self.obstacles else ".")

    @property
    def obstacles(self) -> list[str]:
        """Why metrics could not be compared, each reason once."""
        return list(dict.fromkeys(v.reason for v in self.verdicts if v.verdict == NOT_COMPARABLE))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
