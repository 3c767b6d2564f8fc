"""A backbone of one's own in a run: what is refused before anything is made, what is told, what the record says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.profiling import profile
from stbench.records.store import read_record
from stbench.run.stages import run
from stbench.settings.resolve import resolve

MODULE = """
import sys
import torch
import torch.nn.functional as F
from torch import nn

class Own(nn.Module):
    def __init__(self, way: str = "sound", in_channels: int = 3, num_classes: int = 0) -> None:
        super().__init__()
        self.way, self.steps = way, 0
        self.enter, self.leave = nn.Conv3d(in_channels, 8, 1), nn.Conv3d(8, in_channels, 1)
        self.time, self.label = nn.Linear(1, 8) if way != "timeless" else None, nn.Embedding(num_classes + 1, 8)
        self.wrong = nn.Linear(5, 5) if way == "width" else None

    def forward(self, x, t, conditioning):
        told = self.label(conditioning.class_labels) + (self.time(t[:, None] / 1000) if self.time else 0)
        h = (self.enter(x) + told[:, :, None, None, None]).flatten(2).transpose(1, 2)
        h = F.scaled_dot_product_attention(h, h, h).transpose(1, 2).unflatten(2, x.shape[2:])
        if self.way == "exit":
            sys.exit(0)
        if self.way == "own error":
            raise ValueError("too narrow\\nby far")
        if self.way == "width":
            h = self.wrong(h)
        out = self.leave(h)
        if self.way == "one frame":
            out = out[:, :, :1]
        if self.way == "mixing":
            out = out - out.mean(0)
        self.steps += self.training and len(x) == 4
        if self.steps > 40 and self.way == "late exit":
            sys.exit(0)
        if self.steps > 40 and self.way == "late error":
            raise KeyError("late")
        return out
"""


@pytest.fixture(autouse=True)
def short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the networks cost does not matter here."""
    monkeypatch.setattr(profile, "MAX_SECONDS", 0.01)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Words of the smallest run of a variant whose module lies beside its file."""
    (tmp_path / "own_backbone.py").write_text(MODULE)
    (tmp_path / "own.yaml").write_text("backbone: own_backbone:Own\n")
    tiny = ["dataset=shapes", "dataset.num_frames=4", "dataset.image_size=8", "preset=smoke"]
    return [f"variant={tmp_path}/own.yaml", *tiny, "device=cpu", "precision=float32"]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("exit", r"answers: SystemExit: 0 \(.*own_backbone\.py:20\)"),
        ("own error", r"answers: ValueError: too narrow \(.*own_backbone\.py:22\)"),
        ("width", r"answers: RuntimeError: mat1 and mat2 shapes cannot be multiplied .* \(.*own_backbone\.py:24\)"),
        ("one frame", r"shape: returned \(2, 3, 1, 8, 8\), expected \(B, C, F, H, W\) = \(2, 3, 4, 8, 8\)"),
        ("mixing", "clips apart: another clip in the batch moves a prediction by .* %: clips see each other"),
    ],
)
def test_a_broken_backbone_is_refused_and_leaves_nothing_behind(
    way: str, message: str, words: list[str], tmp_path: Path
) -> None:
    refusal = f"^variant 'own' breaks the contract of a backbone: {message}$"
    with pytest.raises(StbenchError, match=refusal) as caught:
        run(resolve([*words, f"variant.way='{way}'"]), tmp_path / "runs")
    assert caught.value.exit_status == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("late exit", r"SystemExit: 0 \(.*own_backbone\.py:32\)"),
        ("late error", r"KeyError: 'late' \(.*own_backbone\.py:34\)"),
    ],
)
def test_what_goes_wrong_later_is_one_line_and_a_record(
    way: str, reason: str, words: list[str], tmp_path: Path
) -> None:
    """A sys.exit(0) used to end a training as if all were well, without a record."""
    with pytest.raises(StbenchError, match=f"^{reason}$"):
        run(resolve([*words, f"variant.way='{way}'", "train.steps=500"]), tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    record = read_record(folder)
    assert record.status == "failed"
    assert re.search(reason, str(record.reason))


def test_what_may_be_meant_is_told(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = resolve([*words, "variant.way=timeless", "train.steps=1", "attention=sdpa"])
    record = read_record(run(config, tmp_path / "runs"))
    warning = "warning: variant 'own': timestep: the prediction does not depend on the timestep\n"
    assert capsys.readouterr().err.count(warning) == 1
    assert record.finished
    assert record.training.attention is None  # none of its modules takes the backend that was asked for
    assert record.counts.attention_modules == 0
    run(config, tmp_path / "runs", resume=True)
    assert warning not in capsys.readouterr().err


def test_attention_that_was_reached_is_recorded(finished: Path) -> None:
    record = read_record(finished)
    assert record.training.attention == "math"
    assert record.counts.attention_modules == 4
