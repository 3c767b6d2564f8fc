"""What a comparison consists of, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from stbench.errors import CheckFailed, FinishedInPart, NotComparable
from stbench.reports.comparison.verdicts import (
    BETTER,
    FAILING,
    LARGER,
    NOT_COMPARABLE,
    RUNS_FINISHED,
    SMALLER,
    UNDECIDED,
    WORSE,
    Verdict,
)


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
        unreadable: why records of either side cannot be read; one of these may be what is missing.
    """

    cells: list[Cell]
    missing: list[str]
    added: list[str]
    unreadable: list[str]

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
        """0 fine; 1 a regression or a missing run; 3 when records cannot be read; 4 when nothing could be compared."""
        if self.regressions or (self.missing and not self.unreadable):
            return CheckFailed.exit_status
        if self.unreadable:
            return FinishedInPart.exit_status
        judged = any(verdict.verdict not in (NOT_COMPARABLE, LARGER, SMALLER) for verdict in self.verdicts)
        return 0 if judged else NotComparable.exit_status

    @property
    def headline(self) -> str:
        """The outcome in one sentence, which says what the exit status does."""
        obstacles = self._reasons(NOT_COMPARABLE)
        if self.regressions:
            return f"{_counted(len(self.regressions), 'regression')}: {'; '.join(self.regressions)}."
        if self.unreadable:
            return f"{_counted(len(self.unreadable), 'record')} cannot be read: {'; '.join(self.unreadable)}."
        if self.missing:
            return f"{_counted(len(self.missing), 'run')} of the baseline missing: {', '.join(self.missing)}."
        if self.exit_status == NotComparable.exit_status:
            return f"Not comparable: {'; '.join(obstacles) or 'neither side recorded a result'}."
        undecided = f"undecided: {', '.join(self._metrics(UNDECIDED))}" if self._metrics(UNDECIDED) else ""
        if any(cell.gated for cell in self.cells):
            outcome = "No regression" + (" in what could be compared" if obstacles else "")
            return "; ".join(filter(None, [outcome, undecided])) + "."
        told = [f"{kind} in {', '.join(self._metrics(kind))}" for kind in (BETTER, WORSE) if self._metrics(kind)]
        outcome = "; ".join(filter(None, [*told, undecided])) or "no difference in what could be compared"
        return f"A candidate against a baseline (no check for regressions): {outcome}."

    def _metrics(self, kind: str) -> list[str]:
        """The metrics of a kind of verdict, each once."""
        return list(dict.fromkeys(verdict.metric for verdict in self.verdicts if verdict.verdict == kind))

    def _reasons(self, kind: str) -> list[str]:
        """The reasons of a kind of verdict, each once."""
        return list(dict.fromkeys(verdict.reason for verdict in self.verdicts if verdict.verdict == kind))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
