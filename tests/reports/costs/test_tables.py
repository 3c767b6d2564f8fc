"""What `stbench profile` prints, as whole texts, and the files that it writes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.records.costs import BatchSizeSearch, Profile, Trial
from stbench.reports.costs.tables import print_costs, write_costs

COUNTED = """\
variant           latte1
latents           4x16x32x32
parameters        2,878,784 (2,863,424 trainable)
operations        2.000 GMACs = 4.000 GFLOPs, executed, one clip
  train step      5.500 GMACs, forward and backward, one clip
  by torch        2.000 GMACs
  by closed_form  1.750 GMACs
  as thop_batch3  6.125 G
  incomplete      fvcore does not know aten::mv

module               GMACs   share
blocks.*.mlp         1.2500  62.5 %
embed                0.5000  25.0 %
(outside its parts)  0.2500  12.5 %
thop_batch3: as the Latte paper counts
"""

MEASURED = """\
variant             latte1
latents             4x16x32x32
parameters          2,878,784 (2,863,424 trainable)
operations          2.000 GMACs = 4.000 GFLOPs, executed, one clip
  train step        5.500 GMACs, forward and backward, one clip
  by torch          2.000 GMACs
  by closed_form    1.750 GMACs
  as thop_batch3    6.125 G
  incomplete        fvcore does not know aten::mv
forward             10.00 ms ± 0.50 ms over 2 samples, 4 clips, 400 clips/s, first call 0.25 s longer
train_step          50.00 ms ± 0.50 ms over 2 samples, 4 clips, 80 clips/s, first call 0.25 s longer
sampling_step       20.00 ms ± 0.50 ms over 2 samples, 4 clips, 200 clips/s, first call 0.25 s longer
peak_allocated_mib  300 MiB
peak_reserved_mib   400 MiB
peak_rss_mib        900 MiB
MFU of forward      25.0 % of the measured ceiling, 12.5 % of the data sheet
MFU of train_step   50.0 % of the measured ceiling, 25.0 % of the data sheet
energy              12.50 J a training step
precision           float32
attention           math
device              cpu
threads             2

module               GMACs   share
blocks.*.mlp         1.2500  62.5 %
embed                0.5000  25.0 %
(outside its parts)  0.2500  12.5 %

batch size  status  peak (MiB)  reason
1           fits    110
2           oom     -           CUDA out of memory.
largest batch of a training step that fits: 1
thop_batch3: as the Latte paper counts
"""

SCALING = """
latte1 by frames; operations of the batch
frames    gmacs  train_step_s  status
8         1      0.25          finished
16        2      1             finished
32        -      -             oom: CUDA out of memory.
exponent  1.000  2.000         y = c * x^exponent
"""

CEILINGS = """
measured ceilings: 500 GFLOP/s float32, 1000 GFLOP/s bfloat16, 100.0 GB/s; data sheet: its data sheet
"""

# Two spaces between columns, and no column that nobody has a figure in.
SEVERAL = (
    "operations of one clip; times of 4 clips\n"
    "variant  status    params (M)  GMACs  GMACs, train step  forward (ms)  train step (ms)  sampling step (ms)"
    "  first step, excess (s)  train clips/s  peak (MiB)  MFU, measured ceiling  MFU, data sheet  largest batch"
    "  reason\n"
    "latte1   finished  2.88        2.00   5.50               10.0          50.0             20.0"
    "                0.2                     80             300         0.500                  0.250            1\n"
    "odd      failed    -           -      -                  -             -                -"
    "                   -                       -              -           -                      -                -"
    "              depth=3 is odd\n"
)


def test_one_variant_that_was_counted(counted: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    print_costs(counted)
    assert capsys.readouterr().out == COUNTED


def test_one_variant_that_was_measured(measured: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    print_costs(measured)
    assert capsys.readouterr().out == MEASURED + SCALING + CEILINGS


def test_attention_that_the_network_does_not_take_is_named(
    measured: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    (variant,) = measured.variants
    assert variant.cost is not None
    counts = replace(variant.cost.counts, attention_modules=0)
    print_costs(replace(measured, variants=(replace(variant, cost=replace(variant.cost, counts=counts)),)))
    assert "\nattention           math, which reaches no module\n" in capsys.readouterr().out


def test_times_taken_under_load_are_named(measured: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    [of] = measured.variants
    assert of.cost is not None
    slowed = {step: replace(timing, waited_share=0.36) for step, timing in of.cost.timing.items() if step == "forward"}
    cost = replace(of.cost, timing={**of.cost.timing, **slowed})
    print_costs(replace(measured, variants=(replace(of, cost=cost),)))
    warning = "latte1: forward is slowed by other work: threads stood 36 % of their time waiting for a processor\n"
    assert capsys.readouterr().out == MEASURED + SCALING + warning + CEILINGS


def test_parameters_of_a_series_are_whole_numbers(measured: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    [of] = measured.variants
    assert of.scaling is not None
    point = {"width": 204, "params_total": 2_817_123, "status": "finished", "reason": None}
    series = replace(of.scaling, axis="width", points=(point,), exponents={"params_total": 2.0})
    print_costs(replace(measured, variants=(replace(of, scaling=series),)))
    assert "width     params_total  status\n204       2,817,123     finished\n" in capsys.readouterr().out


def test_ceilings_that_were_measured_under_load_are_no_ceilings(
    measured: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measured.ceilings is not None
    print_costs(replace(measured, ceilings=replace(measured.ceilings, waited_share=0.36)))
    warning = "they are too low, and MFU of them too high: threads stood 36 % of their time waiting for a processor\n"
    assert capsys.readouterr().out == MEASURED + SCALING + CEILINGS + warning


def test_several_variants(several: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    print_costs(several)
    assert capsys.readouterr().out == SEVERAL + SCALING + CEILINGS


def test_several_variants_fit_a_terminal_of_80_columns(
    several: Profile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stbench.reports.terminal.terminal_width", lambda: 80)
    print_costs(several)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_columns_without_a_figure_are_left_out(counted: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    print_costs(replace(counted, variants=counted.variants * 2))
    assert capsys.readouterr().out == (
        "operations of one clip\n"
        "variant  status    params (M)  GMACs  GMACs, train step  reason\n"
        "latte1   finished  2.88        2.00   5.50\n"
        "latte1   finished  2.88        2.00   5.50\n"
    )


def test_files(several: Profile, tmp_path: Path) -> None:
    out = tmp_path / "costs"
    write_costs(several, out)
    assert json.loads((out / "costs.json").read_text()) == json.loads(json.dumps(several.to_json()))
    with (out / "costs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["status"], row["peak_mib"]) for row in rows] == [
        ("latte1", "finished", "300.0"),
        ("odd", "failed", ""),
    ]
    assert (out / "scaling.csv").read_text() == (
        "variant,frames,gmacs,train_step_s,status,reason\n"
        "latte1,8,1.0,0.25,finished,\n"
        "latte1,16,2.0,1.0,finished,\n"
        "latte1,32,,,oom,CUDA out of memory.\n"
    )
    assert sorted(path.name for path in (out / "plots").iterdir()) == [
        f"{plot}.{ending}"
        for plot in ("breakdown-latte1", "roofline", "scaling-gmacs", "scaling-train-step-s")
        for ending in ("png", "svg")
    ]


def test_a_hostile_name_is_no_formula(counted: Profile, tmp_path: Path) -> None:
    variant = replace(counted.variants[0], variant={"name": "=cmd|x\r=1"})
    write_costs(replace(counted, variants=(variant,)), tmp_path / "costs")
    assert "\n'=cmd|x =1,finished" in (tmp_path / "costs" / "costs.csv").read_text()


def test_the_largest_batch_says_where_no_larger_one_was_tried(
    measured: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    search = BatchSizeSearch(largest_batch_size=2, trials=(Trial(batch_size=2, status="fits", peak_mib=1.0),))
    print_costs(replace(measured, variants=(replace(measured.variants[0], batch_size_search=search),)))
    assert "step that fits: at least 2: --max-batch-size ended the search\n" in capsys.readouterr().out


def test_an_earlier_output_is_replaced_and_anything_else_is_kept(counted: Profile, tmp_path: Path) -> None:
    write_costs(counted, tmp_path / "costs")
    write_costs(counted, tmp_path / "costs")
    assert not (tmp_path / "costs" / "scaling.csv").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(StbenchError, match=r"mine\.txt"):
        write_costs(counted, tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
