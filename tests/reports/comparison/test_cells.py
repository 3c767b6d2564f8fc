"""What follows from verdicts: regressions, exit status, and the headline, as whole texts."""

from __future__ import annotations

import pytest

from stbench.reports.comparison.cells import Cell, Comparison
from stbench.reports.comparison.verdicts import Verdict

SAME = Verdict("GMACs", 1.5, 1.5, "same")
WORSE = Verdict("FVD[i3d]", 100.0, 120.0, "worse")
BETTER = Verdict("forward (ms)", 10.0, 5.0, "better")
CHANGED = Verdict("parameters", 100, 101, "changed")
OTHER_MACHINE = Verdict("peak RSS (MiB)", 1.0, 2.0, "not comparable", "another machine")
UNFINISHED = Verdict("runs finished", "1 of 1", "0 of 1", "worse", "run: oom, out of memory")


def cell(*verdicts: Verdict, gated: bool = True, name: str = "latte1 / shapes / demo") -> Cell:
    return Cell(name, ["base"], ["new"], gated, [], list(verdicts))


@pytest.mark.parametrize(
    ("comparison", "exit_status", "headline"),
    [
        (Comparison([cell(SAME, BETTER)], [], []), 0, "No regression."),
        (Comparison([cell(SAME, OTHER_MACHINE)], [], ["new one"]), 0, "No regression in what could be compared."),
        (Comparison([cell(SAME, WORSE)], [], []), 1, "1 regression: latte1 / shapes / demo: FVD[i3d] worse."),
        (
            Comparison([cell(CHANGED), cell(WORSE, name="two")], [], []),
            1,
            "2 regressions: latte1 / shapes / demo: parameters changed; two: FVD[i3d] worse.",
        ),
        (Comparison([cell(SAME)], ["a", "b"], []), 1, "2 runs of the baseline missing: a, b."),
        (Comparison([cell(OTHER_MACHINE)], [], []), 4, "Not comparable: another machine."),
        (Comparison([cell()], [], []), 4, "Not comparable: neither side recorded a result."),
        (
            Comparison([cell(WORSE, BETTER, CHANGED, gated=False)], [], []),
            0,
            "A candidate against a baseline: better in forward (ms); worse in FVD[i3d].",
        ),
        (
            Comparison([cell(SAME, gated=False)], [], []),
            0,
            "A candidate against a baseline: no difference in what could be compared.",
        ),
        (
            Comparison([cell(UNFINISHED, gated=False)], [], []),
            1,
            "1 regression: latte1 / shapes / demo: runs finished worse.",
        ),
    ],
)
def test_exit_status_and_headline(comparison: Comparison, exit_status: int, headline: str) -> None:
    assert (comparison.exit_status, comparison.headline) == (exit_status, headline)


def test_verdicts_and_obstacles_of_all_cells() -> None:
    comparison = Comparison([cell(SAME, OTHER_MACHINE), cell(OTHER_MACHINE, WORSE)], [], [])
    assert comparison.verdicts == [SAME, OTHER_MACHINE, OTHER_MACHINE, WORSE]
    assert comparison.obstacles == ["another machine"]
