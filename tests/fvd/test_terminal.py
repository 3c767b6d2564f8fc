"""What `stbench fvd` prints, compared as whole texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stbench.data.clips import Dropped
from stbench.fvd.frames import FrameQuality
from stbench.fvd.measure import Outcome, ShuffledControl
from stbench.fvd.sides import SideFeatures
from stbench.fvd.terminal import print_fvd
from stbench.records.protocol import Protocol
from stbench.records.sections import Quality

REAL = SideFeatures(
    features=np.zeros((3, 2), np.float32),
    shuffled=None,
    video_ids=["a", "b", "c"],
    conditions={},
    asked=None,
    found=5,
    tried=[],
    dropped=[Dropped("d", "broken"), Dropped("e", "broken")],
    ignored=["README.md"],
    storage=".mp4",
    origin="videos/real",
)
OUTCOME = Outcome(
    quality=Quality(
        protocol=Protocol(
            detector="shapes3d",
            preprocessing="resize32",
            feature_dim=64,
            num_frames=16,
            frame_stride_real=3,
            resolution=64,
        ),
        protocol_hash="0123456789abcdef",
        detector="shapes3d",
        n_real=3,
        n_fake=3,
        fvd=12.345,
        label="internal",
    ),
    control=None,
    frames=None,
    real=REAL,
    fake=replace(REAL, found=3, dropped=[], ignored=[], origin="fake.npz"),
    protocol_name="builtin, num_real=3",
)
HEAD = (
    "real       videos/real: 3 of 5 videos used; dropped 2: 2 broken; 1 other files ignored\n"
    "generated  fake.npz: 3 of 3 videos used\n"
    "protocol   builtin, num_real=3\n"
    "clips      16 frames, stride 3 of real ones and 1 of generated ones, 64x64 (crop-resize-lanczos)\n"
    "detector   shapes3d: none that papers use, so compare its figures with those of stbench alone\n"
)
FVD = "FVD [shapes3d]  12.35  (3 real, 3 generated clips)\nprotocol hash   0123456789ab\n"


def printed(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> str:
    print_fvd(outcome)
    return capsys.readouterr().out


def test_two_sides_and_their_distance(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(OUTCOME, capsys) == HEAD + FVD


@pytest.mark.parametrize(
    ("label", "about"),
    [
        ("standard", "shapes3d: published, and at its usual number of clips"),
        ("exploratory", "shapes3d: published, but at fewer clips than is usual"),
        ("refused", "shapes3d"),
    ],
)
def test_what_the_detector_s_figures_are_worth(label: str, about: str, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = replace(OUTCOME.quality.protocol, frame_stride_real=1)
    lines = printed(replace(OUTCOME, quality=replace(OUTCOME.quality, protocol=protocol, label=label)), capsys)
    assert f"clips      16 frames, stride 1, 64x64 (crop-resize-lanczos)\ndetector   {about}\n" in lines


def test_the_control_stands_below(capsys: pytest.CaptureFixture[str]) -> None:
    control = ShuffledControl(fvd_shuffled=20.0, kvd_shuffled=1.5)
    assert printed(replace(OUTCOME, control=control), capsys) == HEAD + FVD + (
        "FVD [shapes3d], frames shuffled  20.00\nKVD [shapes3d], frames shuffled  1.5\n"
    )
    nothing = ShuffledControl(fvd_shuffled=None, kvd_shuffled=None)
    assert printed(replace(OUTCOME, control=nothing), capsys) == HEAD + FVD


@pytest.mark.parametrize(("fid", "refused", "text"), [(7.5, None, "7.50"), (None, "too few", "refused: too few")])
def test_single_frames(fid: float | None, refused: str | None, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    frames = FrameQuality(
        fid=fid,
        refused=refused,
        num_real=48,
        num_fake=32,
        detector="inception",
        weights_sha256="0" * 64,
        preprocessing="pytorch-fid",
    )
    assert printed(replace(OUTCOME, frames=frames), capsys) == HEAD + FVD + (
        f"FID [inception], single frames  {text}  (48 real, 32 generated frames)\n"
    )
