"""What a comparison consists of, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from stbench.errors import CheckFailed, FinishedInPart, NotComparable
from stbench.reports.comparison.verdicts import (
    BETTER,
    CHANGED,
    FAILING,
    NOT_COMPARABLE,
    RUNS_FINISHED,
    SAME,
    UNDECIDED,
    WORSE,
    Verdict,
)

DECIDED, OPEN = (SAME, BETTER, WORSE, CHANGED), (UNDECIDED, NOT_COMPARABLE)


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
        return 0 if self._metrics(*DECIDED, UNDECIDED) else NotComparable.exit_status

    @property
    def headline(self) -> str:
        """The outcome in one sentence, which says what the exit status does."""
        if self.regressions:
            return f"{_counted(len(self.regressions), 'regression')}: {'; '.join(self.regressions)}."
        if self.unreadable:
            return f"{_counted(len(self.unreadable), 'record')} cannot be read: {'; '.join(self.unreadable)}."
        if self.missing:
            return f"{_counted(len(self.missing), 'run')} of the baseline missing: {', '.join(self.missing)}."
        if self.exit_status == NotComparable.exit_status:
            reasons = dict.fromkeys(each.reason for each in self.verdicts if each.verdict == NOT_COMPARABLE)
            return f"Not comparable: {'; '.join(reasons) or 'neither side recorded a result'}."
        open_ends = [f"{kind}: {', '.join(self._metrics(kind))}" for kind in OPEN if self._metrics(kind)]
        if any(cell.gated for cell in self.cells):
            told = [f"No regression{self._where() if open_ends else ''}"]
        else:
            told = [f"{kind} in {', '.join(self._metrics(kind))}" for kind in (BETTER, WORSE) if self._metrics(kind)]
            told = told or [f"no difference{self._where()}"]
            told[0] = f"A candidate against a baseline (no check for regressions): {told[0]}"
        return "; ".join([*told, *open_ends]) + "."

    def _where(self) -> str:
        """In which metrics every verdict fell."""
        fell = [metric for metric in self._metrics(*DECIDED) if metric not in self._metrics(*OPEN)]
        return f" in {', '.join(fell)}" if fell else " found"

    def _metrics(self, *kinds: str) -> list[str]:
        """The metrics of some kinds of verdict, each once."""
        return list(dict.fromkeys(verdict.metric for verdict in self.verdicts if verdict.verdict in kinds))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
