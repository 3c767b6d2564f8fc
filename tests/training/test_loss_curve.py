"""The loss curve: a log whose damage costs the damaged lines, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.training.loss_curve import LOSS_COLUMNS, LossCurve, StepLog, read_lines, summarise_loss_curve


def curve_of(steps: int, path: Path) -> Path:
    """A curve whose loss is the number of the step, and whose steps take a quarter of a second."""
    with closing(LossCurve(path, 0)) as curve:
        for step in range(1, steps + 1):
            curve.append(StepLog(step=step, loss=step, mse=0.5, vb=None, grad_norm=2.0, lr=0.01).line(0.25))
        curve.flush()
    return path


def test_the_line_of_a_step() -> None:
    log = StepLog(step=12, loss=0.123456789, mse=1.0, vb=2.5e-7, grad_norm=1234567.89, lr=1e-4)
    assert tuple(log.line(0.5)) == LOSS_COLUMNS
    assert list(log.line(0.5).values()) == ["12", "0.1234568", "1", "2.5e-07", "1234568", "0.0001", "0.500000"]
    without_bound = replace(log, step=10_000_000, vb=None).line(1234.5678901)
    assert (without_bound["vb"], without_bound["step"], without_bound["seconds"]) == ("", "10000000", "1234.567890")


@pytest.mark.parametrize(("steps", "loss_final"), [(3, 3.0), (20, 19.5), (30, 29.0)])
def test_the_final_loss_is_the_mean_of_the_last_tenth(steps: int, loss_final: float, tmp_path: Path) -> None:
    path = curve_of(steps, tmp_path / "loss.csv")
    assert summarise_loss_curve(path, steps, batch_size=4) == {
        "steps": steps,
        "unlogged_steps": 0,
        "loss_curve": "loss.csv",
        "loss_final": loss_final,
        "wall_s": 0.25 * steps,
        "clips_per_s": 16.0,
    }


@pytest.mark.parametrize("steps", [0, 7])
def test_without_lines_there_are_no_figures(steps: int, tmp_path: Path) -> None:
    assert summarise_loss_curve(tmp_path / "loss.csv", steps, batch_size=4) == {
        "steps": steps,
        "unlogged_steps": steps,
        "loss_curve": "loss.csv",
        "loss_final": None,
        "wall_s": 0,
        "clips_per_s": None,
    }


# What is done to the lines of four steps (the header is line 0), and the steps whose lines are then lost.
DAMAGE: dict[str, tuple[Callable[[bytes], bytes], list[int]]] = {
    "empty": (lambda content: b"", [1, 2, 3, 4]),
    "no header": (lambda content: content.partition(b"\n")[2], []),
    "cut in a number": (lambda content: content[:-5], [4]),
    "cut in a step": (lambda content: content[: content.index(b"\n4,") + 2], [4]),
    "not text": (lambda content: content.replace(b"\n2,", b"\n\xff\xfe\x00,"), [2]),
    "not finite": (lambda content: content.replace(b"\n3,3,", b"\n3,nan,"), [3]),
    "no number": (lambda content: content.replace(b"\n3,3,", b"\n3,,"), [3]),
    "a column more": (lambda content: content.replace(b"\n3,3,", b"\n3,3,3,"), [3]),
    "step zero": (lambda content: content.replace(b"\n3,3,", b"\n0,3,"), [3]),
    "twice": (lambda content: content + content, []),
    "a step too many": (lambda content: content + b"5,1,1,,1,1,1\r\n", []),
    "in disorder": (lambda content: b"".join(reversed(content.splitlines(keepends=True))), []),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_whole_is_kept_in_order_and_what_is_lost_is_told(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = curve_of(4, tmp_path / "loss.csv")
    spoil, lost = DAMAGE[damage]
    before = path.read_bytes()
    path.write_bytes(spoil(before))
    left = [step for step in (1, 2, 3, 4) if step not in lost]
    assert [int(line["step"]) for line in read_lines(path, 4)] == left
    summary = summarise_loss_curve(path, 4, 1)
    assert (summary["steps"], summary["unlogged_steps"], summary["wall_s"]) == (4, len(lost), 0.25 * len(left))
    LossCurve(path, 4).close()
    told = f"{path} lacks the lines of {len(lost)} of 4 steps: they are lost\n" if lost else ""
    assert capsys.readouterr().err == told
    lines = before.splitlines(keepends=True)
    assert path.read_bytes() == b"".join([lines[0], *(lines[step] for step in left)])


def test_a_curve_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match=rf"^cannot read {tmp_path}: Is a directory$"):
        read_lines(tmp_path, 4)
    curve = LossCurve(tmp_path / "loss.csv", 0)
    curve._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
    with pytest.raises(StbenchError, match=rf"^cannot write {tmp_path}/loss.csv: No space left on device$"):
        curve.append({"step": "1"})
    curve.close()
