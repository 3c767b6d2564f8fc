"""`stbench profile` as a function: several variants, sizes, batches, and what is written."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stbench.errors import FinishedInPart, StbenchError
from stbench.profiling import profile
from stbench.profiling import variants as costs_module
from stbench.profiling.variants import check_complete, profile_variants
from stbench.records.costs import Scaling, cost_row
from stbench.reports.costs.tables import print_costs, write_costs
from stbench.settings.options import ProfileOptions

COUNTS = ProfileOptions(counts_only=True, latents="4x8x8x8")
TIMES = replace(COUNTS, counts_only=False)
SMOKE = ["preset=smoke", "device=cpu", "precision=float32", "attention=math"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples, and a machine whose ceilings are known."""
    monkeypatch.setattr(profile, "MIN_SAMPLES", 1)
    monkeypatch.setattr(profile, "MAX_SECONDS", 0.0)
    monkeypatch.setattr("stbench.profiling.roofline.matmul_ceiling", lambda device, dtype: 100.0)
    monkeypatch.setattr("stbench.profiling.roofline.copy_ceiling", lambda device: 10.0)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A variant that cannot be built."""
    path = tmp_path / "odd.yaml"
    path.write_text("backbone: stbench.backbones.latte:Latte\ndepth: 3\npresets: {smoke: {size: tiny, depth: 3}}\n")
    return path


def scaled(words: list[str], options: ProfileOptions) -> Scaling:
    [variant] = profile_variants(words, options).variants
    assert variant.scaling is not None
    return variant.scaling


def exponent(words: list[str], scale: str, figure: str = "gmacs") -> float:
    value = scaled(words, replace(COUNTS, scale=[scale])).exponents[figure]
    assert value is not None
    return value


@pytest.mark.parametrize("variant", ["latte1", "latte2", "latte3", "latte4"])
def test_operations_of_factorised_attention_grow_as_the_frames(variant: str) -> None:
    assert exponent([f"variant={variant}", "variant.depth=4"], "frames=4,8,16") == pytest.approx(1, abs=0.02)


def test_operations_grow_as_the_square_of_the_width() -> None:
    words = ["variant=latte1", "variant.depth=2", "variant.num_heads=4"]
    assert exponent(words, "width=256,512,1024") == pytest.approx(2, abs=0.05)
    assert exponent(words, "width=256,512,1024", "params_total") == pytest.approx(2, abs=0.05)


def test_operations_grow_as_the_pixels_and_as_the_batch() -> None:
    words = ["variant=pseudo3d_unet", "preset=smoke"]
    assert exponent(words, "resolution=8,32") == pytest.approx(2, abs=0.1)
    assert exponent(words, "batch=1,2") == pytest.approx(1)
    assert exponent(words, "width=16,64") > 1.5


def test_a_network_that_reads_a_context_is_counted_with_one() -> None:
    words = ["variant=latte1", "preset=smoke"]
    [plain], [told] = (profile_variants([*words, f"variant.text_dim={width}"], COUNTS).variants for width in (0, 12))
    assert plain.cost is not None
    assert told.cost is not None
    assert (told.cost.counts.gmacs - plain.cost.counts.gmacs) * 1e9 == pytest.approx(12 * 192, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ProfileOptions(counts_only=True), ([3, 2, 8, 4], False)),
        (ProfileOptions(counts_only=True, latents="4x2x8x8"), ([4, 2, 8, 8], False)),
        (ProfileOptions(), ([3, 2, 8, 4], True)),  # what is timed is trained, under ddpm with a variance
    ],
)
def test_published_figures_are_of_their_input(
    tmp_path: Path, options: ProfileOptions, expected: tuple[list[int], bool]
) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        "backbone: stbench.backbones.pseudo3d_unet:Pseudo3DUNet\nsize: tiny\ndim_multipliers: [2, 4]\n"
        "published: {latents: 3x2x8x4, learned_variance: false}\n"
    )
    [row] = profile_variants([f"variant={path}", *SMOKE[1:]], options).variants
    assert (row.input["latents"], row.input["learned_variance"]) == expected


def test_shapes_are_part_of_a_profile_that_asks_for_them() -> None:
    words = ["variant=videocrafter_unet", "preset=smoke"]
    [asked], [plain] = (profile_variants(words, replace(COUNTS, shapes=shapes)).variants for shapes in (True, False))
    assert asked.to_json()["shapes"]["encoder-0"] == "4->16 8x8"
    assert "shapes" not in plain.to_json()


def test_a_size_that_cannot_be_built_is_a_result() -> None:
    scaling = scaled(["variant=latte1", "preset=smoke"], replace(COUNTS, scale=["resolution=8,9,16"]))
    assert [point["status"] for point in scaling.points] == ["finished", "failed", "finished"]
    assert "not a multiple of patch_size" in scaling.points[1]["reason"]
    assert scaling.points[1]["gmacs"] is None
    assert scaling.exponents["gmacs"] is not None and scaling.exponents["gmacs"] > 1


def test_scaling_measures_time_and_memory_too() -> None:
    scaling = scaled(["variant=latte1", *SMOKE], replace(TIMES, scale=["batch=1,2"]))
    for point in scaling.points:
        assert min(point["forward_s"], point["train_step_s"], point["sampling_step_s"], point["peak_rss_mib"]) > 0
    assert set(scaling.exponents) >= {"gmacs", "train_step_s", "peak_rss_mib"}


def test_several_variants_with_one_that_fails(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs = profile_variants([f"variant=latte1,{odd},latte4", *SMOKE], TIMES)
    assert [row.status for row in costs.variants] == ["finished", "failed", "finished"]
    assert costs.variants[1].reason is not None and "depth=3 is odd" in costs.variants[1].reason
    assert list(costs.variants[1].to_json()) == ["variant", "input", "status", "reason"]
    with pytest.raises(
        FinishedInPart, match=r"1 of 3 variants could not be profiled: odd \(failed\): .*depth=3 is odd"
    ):
        check_complete(costs)
    json.dumps(costs.to_json(), allow_nan=False)
    print_costs(costs)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("operations of one clip")
    assert lines[1].split()[:2] == ["variant", "status"]
    assert [line.split()[0] for line in lines[2:5]] == ["latte1", "odd", "latte4"]
    assert "peak FLOPs unknown for cpu" in lines[-1]


def test_exit_status_of_a_comparison_in_part(odd: Path) -> None:
    words = [f"variant=latte1,{odd}", "--counts-only", "--latents", "4x8x8x8", "--json", "-"]
    done = subprocess.run([sys.executable, "-m", "stbench.cli", "profile", *words], capture_output=True, text=True)
    assert done.returncode == 3
    assert "1 of 2 variants could not be profiled" in done.stderr
    rows = json.loads(done.stdout)["variants"]
    assert [(row["variant"]["name"], row["status"]) for row in rows] == [("latte1", "finished"), ("odd", "failed")]
    assert rows[0]["counts"]["gmacs_train_step"] > 2.9 * rows[0]["counts"]["gmacs"]


def test_alone_what_goes_wrong_goes_up(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StbenchError, match="depth=3 is odd"):
        profile_variants([f"variant={odd}"], COUNTS)

    def hungry(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(costs_module, "count", hungry)
    with pytest.raises(FinishedInPart, match="latte1: out of memory: CUDA out of memory"):
        profile_variants(["variant=latte1"], COUNTS)


def test_batch_size_search(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def peak(subject: Any, conditions: Any) -> float:
        if conditions.batch_size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 10.0

    monkeypatch.setattr("stbench.profiling.batch_size.peak_of_training_step", peak)
    costs = profile_variants(["variant=latte1", *SMOKE], replace(TIMES, find_batch_size=True, max_batch_size=64))
    search = costs.variants[0].batch_size_search
    assert search is not None and search.largest_batch_size == 4
    assert cost_row(costs.variants[0])["largest_batch_size"] == 4
    print_costs(costs)
    assert "largest batch of a training step that fits: 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (["variant=latte1,latte9"], COUNTS, "unknown variant 'latte9'"),
        (["variant=latte1,latte1"], COUNTS, "variant latte1 is given twice"),
        (["variant=latte1"], replace(COUNTS, scale=["frames=8"]), "at least two different"),
        (["variant=latte1"], replace(COUNTS, find_batch_size=True), "leave one of them out"),
        (["variant=latte1"], replace(COUNTS, latents="4x16x32"), "expected CxFxHxW"),
        (["variant=latte1"], replace(COUNTS, latents="4x16x32x16"), "sample_size=(32, 16)"),
    ],
)
def test_wrong_use(words: list[str], options: ProfileOptions, message: str) -> None:
    with pytest.raises(StbenchError) as caught:
        profile_variants(words, options)
    assert message in str(caught.value)
    assert caught.value.exit_status == 2


def test_what_is_frozen_is_not_counted_in_a_training_step() -> None:
    whole, frozen = (
        profile_variants(["variant=latte1", *SMOKE, *words], COUNTS).variants[0].cost
        for words in ([], ["train.freeze=^(?!final)"])
    )
    assert whole is not None and frozen is not None
    assert frozen.counts.params_total == whole.counts.params_total
    assert frozen.counts.params_trainable < 0.1 * whole.counts.params_trainable
    assert frozen.counts.gmacs == whole.counts.gmacs
    assert frozen.counts.gmacs_train_step < 1.2 * frozen.counts.gmacs


def test_objective_decides_on_the_channels() -> None:
    costs = profile_variants(["variant=latte1", *SMOKE, "diffusion.objective=flow"], TIMES)
    assert costs.variants[0].input["learned_variance"] is False
    assert costs.variants[0].cost is not None
    assert set(costs.variants[0].cost.timing) == {"forward", "train_step", "sampling_step"}


def test_what_is_written(tmp_path: Path) -> None:
    costs = profile_variants(["variant=latte1,dit", *SMOKE], replace(TIMES, scale=["batch=1,2"]))
    out = tmp_path / "costs"
    write_costs(costs, out)
    write_costs(costs, out)  # an earlier output is replaced
    assert json.loads((out / "costs.json").read_text()) == json.loads(json.dumps(costs.to_json()))
    with (out / "costs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["latte1", "dit"]
    assert costs.variants[0].cost is not None
    assert float(rows[0]["gmacs"]) == costs.variants[0].cost.counts.gmacs
    assert {"params_m", "train_step_ms", "sampling_step_ms", "train_clips_per_s", "peak_mib"} <= set(rows[0])
    with (out / "scaling.csv").open() as file:
        assert [(row["variant"], row["batch"]) for row in csv.DictReader(file)] == [
            ("latte1", "1"),
            ("latte1", "2"),
            ("dit", "1"),
            ("dit", "2"),
        ]
    names = {path.name for path in (out / "plots").iterdir()}
    plots = ("breakdown-latte1", "breakdown-dit", "roofline", "scaling-gmacs", "scaling-train-step-s")
    assert names >= {f"{plot}.{ending}" for plot in plots for ending in ("svg", "png")}


def test_breakdown_and_clips_per_second_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    costs = profile_variants(["variant=latte1", *SMOKE], TIMES)
    print_costs(costs)
    out = capsys.readouterr().out
    assert "blocks.*.mlp" in out
    assert "clips/s" in out
    assert "sampling_step" in out
    assert "by fvcore" in out
    assert "of the measured ceiling" in out


def test_one_axis_of_sizes_at_a_time() -> None:
    options = replace(COUNTS, scale=["frames=4,8", "batch=1,2"])
    with pytest.raises(StbenchError, match=r"^--scale frames=4,8 --scale batch=1,2: expected one axis"):
        profile_variants(["variant=latte1", "preset=smoke"], options)
