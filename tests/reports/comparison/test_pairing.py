"""Which runs are compared with which, found from fabricated records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stbench.errors import NotComparable, StbenchError
from stbench.records.store import find_records
from stbench.reports.comparison.pairing import Pairing, Sides, pair

MakeRun = Callable[..., Path]


def paired(folder: Path) -> Pairing:
    return pair(Sides(find_records([folder / "base"]).stored, find_records([folder / "new"]).stored))


def runs(pairing: Pairing) -> list[tuple[list[str], list[str]]]:
    return [([r.run_id for r in base], [r.run_id for r in new]) for base, new in (c.records for c in pairing.cells)]


def test_seeds_of_a_configuration_stand_together_in_their_order(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (10, 2):
        make_run("latte1", seed, folder="base")
        make_run("latte1", seed, folder="new")
    make_run("latte2", 2, folder="base")
    make_run("latte1", 3, folder="new")
    found = paired(tmp_path)
    assert runs(found) == [(["latte1-2", "latte1-10"], ["latte1-2", "latte1-10"])]
    assert found.missing == ["latte2 / shapes / demo seed 2"]
    assert found.added == ["latte1 / shapes / demo seed 3"]


def test_folders_of_one_variant_each_are_baseline_and_candidate(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run("latte1", seed, folder="base")
        make_run("mine", seed, folder="new")
    assert runs(paired(tmp_path)) == [(["latte1-0", "latte1-1"], ["mine-0", "mine-1"])]


@pytest.mark.parametrize("candidate", ["latte1", "mine"])
def test_a_sweep_over_a_setting_is_paired_by_it(make_run: MakeRun, tmp_path: Path, candidate: str) -> None:
    for lr in (1e-3, 2e-3):
        for side, variant in (("base", "latte1"), ("new", candidate)):
            # Another number of steps is what changed from one side to the other.
            steps = 40 if side == "base" else 80
            make_run(
                variant, 0, folder=side, run_id=f"{side}-{lr}", **{"config.train.lr": lr, "config.train.steps": steps}
            )
    found = paired(tmp_path)
    assert runs(found) == [(["base-0.001"], ["new-0.001"]), (["base-0.002"], ["new-0.002"])]
    assert [cell.settings for cell in found.cells] == [("train.lr=0.001",), ("train.lr=0.002",)]


def test_nothing_in_common_is_not_comparable(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("latte1", 0, folder="base")
    make_run("latte1", 1, folder="new")
    with pytest.raises(
        NotComparable, match="NEW holds none of BASE's runs; expected latte1 / shapes / demo seed 0; it"
    ):
        paired(tmp_path)


def test_runs_that_differ_in_nothing_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("latte1", 0, folder="base")
    make_run("latte1", 0, folder="base", run_id="again")
    make_run("latte1", 0, folder="new")
    with pytest.raises(StbenchError, match=r"two runs of latte1 / shapes / demo seed 0 .*'latte1-0' and 'again'"):
        paired(tmp_path)
