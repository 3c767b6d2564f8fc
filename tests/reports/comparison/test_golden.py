"""Loss curves of equal trainings, as they lie beside fabricated records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stbench.records.store import StoredRecord, read_record
from stbench.reports.comparison.golden import judge_loss_curves
from stbench.reports.comparison.verdicts import Verdict

MakeRun = Callable[..., Path]
CURVE = [1.0, 0.5, 0.25]


def judge(base: Sequence[Path], new: Sequence[Path], unread: list[str] | None = None) -> Verdict | None:
    sides = [[StoredRecord(read_record(path), path) for path in side] for side in (base, new)]
    return judge_loss_curves(sides[0], sides[1], [] if unread is None else unread)


def write(path: Path, losses: Sequence[float]) -> None:
    (path / "loss.csv").write_text("step,loss\n" + "".join(f"{i},{loss}\n" for i, loss in enumerate(losses, start=1)))


@pytest.fixture
def judged(make_run: MakeRun) -> Callable[..., Verdict | None]:
    """Return a function that compares a run with one that has another curve, or differs in what is given."""

    def run(losses: Sequence[float] = CURVE, **changes: Any) -> Verdict | None:
        base, new = make_run(folder="base"), make_run(folder="new", **changes)
        write(base, CURVE)
        write(new, losses)
        return judge([base], [new])

    return run


@pytest.mark.parametrize(
    ("losses", "verdict", "reason"),
    [
        ([1.0, 0.5, 0.25], "same", "equal in every digit"),
        ([1.0, 0.50001, 0.25], "same", "seed 0 departs at step 2, by up to a share of 2e-05: rounding"),
        ([1.0, 0.51, 0.5], "changed", "seed 0 departs at step 2, by up to a share of 0.5"),
        ([0.0, 0.5, 0.25], "changed", "seed 0 departs at step 1, by up to a share of 1"),
        ([1.0, 0.5], "same", "equal in every digit"),  # a line that was lost
        ([], "not comparable", "the curves have no step in common"),
    ],
)
def test_verdict(judged: Callable[..., Verdict | None], losses: list[float], verdict: str, reason: str) -> None:
    found = judged(losses)
    assert (found.metric, found.kind, found.verdict, found.reason) == ("loss curve", "golden", verdict, reason)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions.machine": "box-2"}, "the conditions differ: machine (box-1 / box-2)"),
        ({"software.numpy": "9"}, "the conditions differ: numpy (None / 9)"),
        ({"conditions": None}, "the conditions are not recorded"),
    ],
)
def test_only_equal_machines_and_libraries_are_held_to_it(
    judged: Callable[..., Verdict | None], changes: dict[str, Any], words: str
) -> None:
    found = judged([2.0, 2.0, 2.0], **changes)
    assert (found.verdict, found.reason) == ("not comparable", words)


def test_another_commit_is_what_is_compared(judged: Callable[..., Verdict | None]) -> None:
    assert judged([2.0, 0.5, 0.25], **{"software.commit": "0000000"}).verdict == "changed"


def test_attention_that_chose_otherwise_computes_otherwise(judged: Callable[..., Verdict | None]) -> None:
    call = {"device": "cpu", "dtype": "float32", "autocast": False, "backward": True, "median_s": {}}
    choice = {**call, "shapes": [[1, 2, 3, 4]], "strides": [[24, 12, 4, 1]], "backend": "math"}
    found = judged([2.0, 2.0, 2.0], **{"training.attention_choices": [choice]})
    assert found.reason == "the conditions differ: chosen attention ( / math for (1, 2, 3, 4))"


def test_a_gpu_is_held_to_rounding_alone(make_run: MakeRun) -> None:
    on_gpu = {"conditions.device": "cuda"}
    base, new = make_run(folder="base", **on_gpu), make_run(folder="new", **on_gpu)
    write(new, [9.0] * 40)
    found = judge([base], [new])
    assert (found.verdict, found.reason[-30:]) == ("undecided", "; a GPU adds in no fixed order")


@pytest.mark.parametrize("changes", [{"config_hash": "other"}, {"training": None}, {"files": {}, "training": None}])
def test_other_configurations_and_records_alone_are_not_judged(
    judged: Callable[..., Verdict | None], changes: dict[str, Any]
) -> None:
    assert judged([2.0, 2.0, 2.0], **changes) is None


def test_the_least_alike_pair_of_several_speaks(make_run: MakeRun) -> None:
    sides: list[list[Path]] = [[], []]
    for seed in range(3):
        for side, runs in zip(("base", "new"), sides, strict=True):
            path = make_run(seed=seed, folder=side)
            write(path, [2.0, 2.0] if (seed, side) == (1, "new") else CURVE)
            runs.append(path)
    found = judge(sides[0], sides[1])
    assert (found.verdict, found.reason) == ("changed", "seed 1 departs at step 1, by up to a share of 0.8")


def test_a_curve_that_cannot_be_read_is_told(make_run: MakeRun) -> None:
    base, new = make_run(folder="base"), make_run(folder="new")
    (new / "loss.csv").write_text("nothing\n")
    unread: list[str] = []
    assert judge([base], [new], unread) is None
    assert unread[0].startswith(f"{new}/loss.csv: expected a CSV file with the columns step and loss: ")
