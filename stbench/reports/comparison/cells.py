"""What a comparison consists of, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from stbench.errors import CheckFailed, FinishedInPart, NotComparable
from stbench.reports.comparison.verdicts import (
    BETTER,
    CHANGED,
    DIFFERENT,
    FAILED,
    NOT_COMPARABLE,
    REGRESSED,
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

    @property
    def differs(self) -> bool:
        """Whether anything became better or worse, changed or failed."""
        return any(verdict.verdict in DIFFERENT for verdict in self.verdicts)

    @property
    def regressions(self) -> list[str]:
        """Metrics of a variant compared with itself that became worse or changed."""
        told = [f"{self.name}: {each.metric} {each.verdict}" for each in self.verdicts if each.verdict in REGRESSED]
        return told if self.gated else []

    @property
    def failures(self) -> list[str]:
        """That fewer runs finish than did."""
        failed = [each for each in self.verdicts if each.verdict == FAILED]
        return [f"{self.name}: {each.new} runs finished, in the baseline {each.base}" for each in failed]


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared, what could not be paired, and what follows from it.

    Args:
        cells: what was compared.
        missing: runs of the baseline that the candidate lacks.
        added: runs that only the candidate has.
        unreadable: why records or loss curves of either side cannot be read.
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
        """What became worse or changed, of all cells."""
        return [told for cell in self.cells for told in cell.regressions]

    @property
    def failures(self) -> list[str]:
        """What the candidate was to bring and did not, so that it could not be compared."""
        return [
            *(told for cell in self.cells for told in cell.failures),
            *(f"{name}: missing" for name in self.missing),
            *(f"cannot be read: {reason}" for reason in self.unreadable),
        ]

    @property
    def exit_status(self) -> int:
        """1 a regression; 3 a run that failed, is missing or cannot be read; 4 nothing could be compared; else 0."""
        if self.regressions:
            return CheckFailed.exit_status
        if self.failures:
            return FinishedInPart.exit_status
        figures = [each for each in self.verdicts if each.metric != RUNS_FINISHED]
        compared = any(each.verdict in (*DECIDED, UNDECIDED) for each in figures)
        return 0 if compared else NotComparable.exit_status

    @property
    def headline(self) -> str:
        """The outcome in one sentence, which says what the exit status does."""
        counted = {"regression": self.regressions, "failure": self.failures}
        told = [f"{_counted(len(these), kind)}: {'; '.join(these)}" for kind, these in counted.items() if these]
        if told:
            return ". ".join(told) + "."
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
