"""What follows from verdicts: regressions, exit status, and the headline, as whole texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stbench.reports.comparison.cells import Cell, Comparison
from stbench.reports.comparison.verdicts import Verdict

SAME = Verdict(metric="GMACs", kind="exact", base=1.5, new=1.5, verdict="same")
WORSE = Verdict(metric="FVD[i3d]", kind="quality", base=100.0, new=120.0, verdict="worse")
BETTER = Verdict(metric="forward (ms)", kind="timing", base=10.0, new=5.0, verdict="better")
CHANGED = Verdict(metric="parameters", kind="exact", base=100, new=101, verdict="changed")
LARGER = replace(CHANGED, verdict="larger")
UNDECIDED = Verdict(metric="KVD[i3d]", kind="quality", base=1.0, new=1.2, verdict="undecided", reason="one seed")
OTHER_MACHINE = Verdict(
    metric="peak memory (MiB)", kind="memory", base=1.0, new=2.0, verdict="not comparable", reason="another machine"
)
FAILED = Verdict(
    metric="runs finished", kind="runs", base="1 of 1", new="0 of 1", verdict="failed", reason="run: oom, step 3"
)
DIVERGED = replace(FAILED, base="0 of 1", verdict="not comparable", reason="run: nan, step 3")
MORE_FINISHED = replace(FAILED, base="0 of 1", new="1 of 1", verdict="better")


def cell(*verdicts: Verdict, gated: bool = True, name: str = "latte1 / shapes / demo") -> Cell:
    return Cell(name, ["base"], ["new"], gated, [], list(verdicts))


def comparison(
    *cells: Cell, missing: tuple[str, ...] = (), added: tuple[str, ...] = (), unreadable: tuple[str, ...] = ()
) -> Comparison:
    return Comparison(list(cells), list(missing), list(added), list(unreadable))


@pytest.mark.parametrize(
    ("compared", "exit_status", "headline"),
    [
        (comparison(cell(SAME, BETTER)), 0, "No regression."),
        (
            comparison(cell(SAME, OTHER_MACHINE), added=("new",)),
            0,
            "No regression in GMACs; not comparable: peak memory (MiB).",
        ),
        (comparison(cell(SAME, UNDECIDED)), 0, "No regression in GMACs; undecided: KVD[i3d]."),
        (comparison(cell(UNDECIDED)), 0, "No regression found; undecided: KVD[i3d]."),
        (
            comparison(cell(UNDECIDED, OTHER_MACHINE), cell(UNDECIDED)),
            0,
            "No regression found; undecided: KVD[i3d]; not comparable: peak memory (MiB).",
        ),
        (comparison(cell(SAME, WORSE)), 1, "1 regression: latte1 / shapes / demo: FVD[i3d] worse."),
        (
            comparison(cell(CHANGED), cell(WORSE, name="two")),
            1,
            "2 regressions: latte1 / shapes / demo: parameters changed; two: FVD[i3d] worse.",
        ),
        (comparison(cell(SAME), missing=("a", "b")), 3, "2 failures: a: missing; b: missing."),
        (comparison(cell(OTHER_MACHINE)), 4, "Not comparable: another machine."),
        (comparison(cell(LARGER, OTHER_MACHINE)), 4, "Not comparable: another machine."),
        (comparison(cell(DIVERGED)), 4, "Not comparable: run: nan, step 3."),
        (comparison(cell(DIVERGED), cell(SAME)), 0, "No regression in GMACs; not comparable: runs finished."),
        (comparison(cell()), 4, "Not comparable: neither side recorded a result."),
        (
            comparison(cell(WORSE, BETTER, CHANGED, LARGER, UNDECIDED, gated=False)),
            0,
            "A candidate against a baseline (no check for regressions): better in forward (ms); worse in FVD[i3d]; "
            "undecided: KVD[i3d].",
        ),
        (
            comparison(cell(SAME, gated=False)),
            0,
            "A candidate against a baseline (no check for regressions): no difference in GMACs.",
        ),
        # What could not run is no regression, of whichever backbone, and no pass.
        (
            comparison(cell(FAILED, SAME, gated=False)),
            3,
            "1 failure: latte1 / shapes / demo: 0 of 1 runs finished, in the baseline 1 of 1.",
        ),
        (comparison(cell(SAME), unreadable=("x: not JSON",)), 3, "1 failure: cannot be read: x: not JSON."),
        (
            comparison(cell(WORSE, FAILED), missing=("a",)),
            1,
            "1 regression: latte1 / shapes / demo: FVD[i3d] worse. 2 failures: latte1 / shapes / demo: 0 of 1 runs "
            "finished, in the baseline 1 of 1; a: missing.",
        ),
        # That more runs finish than did is good, but nothing has been compared.
        (comparison(cell(MORE_FINISHED)), 4, "Not comparable: neither side recorded a result."),
    ],
)
def test_exit_status_and_headline(compared: Comparison, exit_status: int, headline: str) -> None:
    assert (compared.exit_status, compared.headline) == (exit_status, headline)


def test_verdicts_of_all_cells() -> None:
    compared = comparison(cell(SAME, OTHER_MACHINE), cell(OTHER_MACHINE, WORSE))
    assert compared.verdicts == [SAME, OTHER_MACHINE, OTHER_MACHINE, WORSE]
