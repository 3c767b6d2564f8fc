"""What commands print of records, compared as whole texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stbench.checks.listing import print_listing
from stbench.records.protocol import Protocol
from stbench.records.sections import (
    CurvePoint,
    EmbeddingCosines,
    Fidelity,
    MotionScores,
    Quality,
    StageCost,
    Validation,
    ValidationPoint,
)
from stbench.reports.report import write_report
from stbench.reports.terminal import (
    print_cascade,
    print_quality,
    print_record,
    print_report,
    print_rows,
    print_validation,
)

MakeRun = Callable[..., Path]
QUALITY = Quality(
    protocol=Protocol(detector="i3d", preprocessing="styleganv", feature_dim=400),
    protocol_hash="0123456789abcdef",
    detector="i3d",
    n_real=2048,
    n_fake=2048,
    fvd=123.456,
    kvd=0.0125,
    label="standard",
)


def test_rows_stand_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("a", "long cell", "c"), ("longer", "b", "")], indent=1)
    assert capsys.readouterr().out == " a       long cell  c\n longer  b\n"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal of 30 columns."""
    monkeypatch.setattr("stbench.reports.terminal.terminal_width", lambda: 30)


@pytest.mark.usefixtures("narrow")
def test_on_a_terminal_long_cells_go_on_below_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("name", "what it is"), ("i3d", "a classifier of human actions"), ("  c3d", "another")], indent=2)
    assert capsys.readouterr().out == (
        "  name   what it is\n"
        "  i3d    a classifier of human\n"
        "         actions\n"
        "    c3d  another\n"
    )  # fmt: skip


@pytest.mark.usefixtures("narrow")
def test_on_a_terminal_columns_without_room_follow_beside_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("variant", "params (M)", "GMACs", "forward (ms)"), ("latte1", "2.85", "0.23", "24.0")])
    assert capsys.readouterr().out == (
        "variant  params (M)  GMACs\n"
        "latte1   2.85        0.23\n"
        "\n"
        "variant  forward (ms)\n"
        "latte1   24.0\n"
    )  # fmt: skip


def test_what_is_listed_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stbench.reports.terminal.terminal_width", lambda: 80)
    for what in ("variants", "presets", "protocols", "detectors"):
        print_listing(what)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_in_a_pipe_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([("name", "x" * 300)])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_every_figure_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    quality = replace(
        QUALITY,
        fvd_interval=(112.345, 134.575),
        fvd_inf=100.25,
        fvd_inf_interval=(88.5, 112.0),
        kvd_interval=(0.01, 0.015),
        mmd=-0.001,
        mmd_interval=(-0.003, 0.001),
        precision=0.7,
        recall=0.25,
        density=1.0625,
        coverage=0.5,
        inception_score=60.123,
    )
    print_quality(quality)
    assert capsys.readouterr().out == (
        "FVD [i3d]                123.46 (95 % interval of these clips: 112.34 to 134.57)"
        "  (2048 real, 2048 generated clips)\n"
        "FVD∞ [i3d]               100.25 (95 % interval of these clips: 88.50 to 112.00)\n"
        "KVD [i3d]                0.0125 (95 % interval of these clips: 0.01 to 0.015)\n"
        "MMD [i3d]                -0.001 (95 % interval of these clips: -0.003 to 0.001)\n"
        "precision, recall [i3d]  0.700, 0.250\n"
        "density, coverage [i3d]  1.062, 0.500\n"
        "Inception Score [i3d]    60.12\n"
        "protocol hash            0123456789ab\n"
    )


def test_class_agreement_stands_beside_that_of_real_clips(capsys: pytest.CaptureFixture[str]) -> None:
    print_quality(replace(QUALITY, class_agreement=0.125, class_agreement_real=0.996))
    assert capsys.readouterr().out.splitlines()[2:4] == [
        "class agreement [i3d]              0.12",
        "class agreement [i3d], real clips  1.00",
    ]


def test_scores_of_motion_stand_beside_those_of_real_clips(capsys: pytest.CaptureFixture[str]) -> None:
    motion = MotionScores(n_clips=256, direction=0.29, speed=0.5, color=1.0, shape=0.75, all=0.125)
    real = MotionScores(n_clips=512, direction=1, speed=1, color=1, shape=1, all=1)
    print_quality(replace(QUALITY, motion=motion, motion_real=real))
    assert capsys.readouterr().out.splitlines()[2:4] == [
        "motion              direction 0.29, speed 0.50, colour 1.00, shape 0.75; all four 0.12  (256 clips)",
        "motion, real clips  direction 1.00, speed 1.00, colour 1.00, shape 1.00; all four 1.00  (512 clips)",
    ]


def test_fidelity_stands_beside_that_of_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    made, plain = Fidelity(n_frames=24, psnr_db=21.456, ssim=0.75, lpips=0.2), Fidelity(n_frames=24, psnr_db=18.2)
    print_quality(replace(QUALITY, fidelity=made, fidelity_plain=plain))
    printed = capsys.readouterr().out
    assert "fidelity              PSNR 21.46 dB, SSIM 0.750, LPIPS 0.200  (24 frames)" in printed
    assert "fidelity, no network  PSNR 18.20 dB  (24 frames)" in printed


def test_stages_of_a_cascade_and_what_a_clip_of_them_took(capsys: pytest.CaptureFixture[str]) -> None:
    first = StageCost(run="runs/a", task="generate", shape=(2, 5, 8, 8), windows=1, gmacs=1.5, seconds=4)
    second = StageCost(run="runs/b", task="upscale", shape=(2, 5, 16, 16), windows=3, gmacs=2.5, seconds=1)
    print_cascade([first, second])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "task run frames pixels windows GMACs a clip s a clip",
        "generate a 5 8x8 1 1.500 2",
        "upscale b 5 16x16 3 2.500 0.5",
        "together 4 2.5",
    ]


def test_cosines_of_a_prior_stand_beside_what_one_may_expect(capsys: pytest.CaptureFixture[str]) -> None:
    cosines = EmbeddingCosines(n_sampled=8, n_real=9, same_class=0.4662, real_same_class=None, any_class=-0.004)
    print_quality(replace(QUALITY, cosines=cosines))
    assert capsys.readouterr().out.splitlines()[2] == (
        "cosine to real embeddings  0.466 of the same class  (real ones among themselves none, of any class -0.004)"
    )


def test_one_that_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    print_quality(replace(QUALITY, fvd=None, refused="too few clips", label="refused"))
    assert capsys.readouterr().out == (
        "FVD [i3d]      refused: too few clips  (2048 real, 2048 generated clips)\n"
        "KVD [i3d]      0.0125\n"
        "protocol hash  0123456789ab\n"
    )


def test_points_during_training(capsys: pytest.CaptureFixture[str]) -> None:
    curve = tuple(CurvePoint(step=step, fvd=900 - step, n_fake=16, protocol_hash="cheap") for step in (0, 400))
    print_quality(replace(QUALITY, kvd=None, curve=curve))
    assert capsys.readouterr().out == (
        "FVD [i3d]              123.46  (2048 real, 2048 generated clips)\n"
        "FVD [i3d] at step 0    900.00\n"
        "FVD [i3d] at step 400  500.00\n"
        "protocol hash          0123456789ab\n"
    )


def test_the_validation_loss(capsys: pytest.CaptureFixture[str]) -> None:
    curve = tuple(ValidationPoint(step=step, loss=1.5 - step / 100, buckets=(1.0, 2.0)) for step in (0, 40))
    found = Validation(
        protocol_hash="0123456789abcdef", n_clips=8, draws=5, edges=(0, 0.5, 1), loss=1.1, buckets=(1, 2), curve=curve
    )
    print_validation(found, None)
    print_validation(None, "eval.validation_clips=0")
    print_validation(None, None)  # of a run that did not come to its end
    assert capsys.readouterr().out == (
        "validation loss  1.1000  (8 held-out clips, 5 timesteps each; after 0 steps 1.5000)\n"
        "validation hash  0123456789ab\n"
        "validation loss  none: eval.validation_clips=0\n"
    )


def test_a_finished_run(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    references = {"quality.fvd_untrained": 900.0, "quality.fvd_real_vs_real": 2.5}
    folder = make_run("latte1", 0, **references, **{"timing.train_step.waited_share": 0.4})
    print_record(folder)
    assert capsys.readouterr().out == (
        f"run            {folder}\n"
        "parameters     32.48 M, 32.00 M of them trainable\n"
        "operations     1.500 GMACs (3.000 GFLOPs) per clip and network evaluation\n"
        "training step  30.0 ms alone, 2 clips; threads stood 40 % of their time waiting for a processor\n"
        "training       40 steps, 4 s with data and averaging, float32\n"
        "FVD [shapes3d]                     100.00  (64 real, 64 generated clips)\n"
        "FVD [shapes3d] at step 0           900.00\n"
        "FVD [shapes3d] at step 20          300.00\n"
        "FVD [shapes3d] at step 40          120.00\n"
        "FVD [shapes3d], untrained          900.00\n"
        "FVD [shapes3d], real against real  2.50\n"
        "KVD [shapes3d]                     0.25 (95 % interval of these clips: 0.2 to 0.3)\n"
        "protocol hash                      protocol-a\n"
    )


def test_a_report_is_what_was_found_what_to_doubt_its_table_and_the_place_of_its_page(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, run = tmp_path / "out", make_run("latte1", 0)
    (run / "samples.npz").write_bytes(b"PK")
    report = write_report([run], out)
    print_report(report)
    assert capsys.readouterr().out == (
        "Lowest FVD[shapes3d]: latte1 on shapes, 100 (one seed, so no interval).\n"
        "warning: FVD[shapes3d] is not measured by I3D: its scale is another than that of published figures.\n"
        f"cannot be read: {report.content.unread[0]}\n"
        "\n"
        "configuration  FVD[shapes3d]  params (M)  GMACs per clip  train step (ms, 2 clips)  seeds\n"
        "latte1         100            32.48       1.500           30                        1 (seed 0)\n"
        "\n"
        f"report: {out / 'index.html'}\n"
    )


def test_a_report_fits_a_terminal_of_80_columns(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stbench.reports.terminal.terminal_width", lambda: 80)
    for seed, size in ((0, "S"), (1, "S"), (0, "XL")):
        changes = {"config.variant.arguments.size": size, "timing.train_step.waited_share": 0.5}
        run = make_run("a_variant_with_quite_a_long_name", seed, 1234.5 + seed, **changes)
    report = write_report([run.parent], tmp_path / "out")
    print_report(report)
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("report: ")]
    assert max(map(len, lines)) <= 80
