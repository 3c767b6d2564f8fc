"""What is said of a run before it runs is what the run is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stbench.checks.listing import print_forecast
from stbench.errors import StbenchError
from stbench.records.store import read_record
from stbench.run.preview import forecast, profile_words
from stbench.run.setup import prepare
from stbench.settings.options import ProfileOptions
from stbench.settings.resolve import resolve

COUNTS = ProfileOptions(counts_only=True)


def test_a_forecast_is_of_the_run_that_was_run(
    finished: Path,
    judged: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    record, told = read_record(finished), forecast(prepare(resolve(judged)))
    assert told.config.run_id == record.run_id
    assert record.counts is not None
    assert (told.counts.params_total, told.counts.gmacs) == (record.counts.params_total, record.counts.gmacs)
    assert told.training_gmacs == pytest.approx(record.counts.gmacs_train_step * 6 * 4)
    # 80 final clips before and after training, and 70 at steps 0 and 6; 2 evaluations each. The validation loss:
    # 8 clips at 5 timesteps each, after 0, 3 and 6 steps.
    assert told.sampling_gmacs == pytest.approx(record.counts.gmacs * (2 * (2 * 80 + 2 * 70) + 3 * 8 * 5))
    assert record.conditions is not None
    assert told.conditions.but_load == record.conditions.but_load
    assert record.quality is not None and record.validation is not None
    hashes = {"quality": record.quality.protocol_hash, "validation": record.validation.protocol_hash}
    assert told.judged_by == hashes
    assert told.least_seconds(told.ceiling_gflops_per_s) == pytest.approx(2)
    print_forecast(told)
    shown = capsys.readouterr().out
    for words in (
        f"run_id: {record.run_id}",
        f"{record.counts.params_total:,}",
        "3x8x16x16, 128 tokens, 4 classes",
        "time, at least",
    ):
        assert words in shown
    assert "validation loss" not in shown
    print_forecast(forecast(prepare(resolve([*judged, "eval.validation_clips=0"]))))
    assert "validation loss  none: eval.validation_clips=0" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("variant.patch_size=5", "patch_size"),
        ("dataset.motions=sideways", "sideways"),
        ("train.init=weights.pt", "weights.pt"),
    ],
)
def test_what_cannot_work_is_refused_without_running(
    word: str, complaint: str, judged: list[str], tmp_path: Path
) -> None:
    torch.save({"alien": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(StbenchError, match=complaint):
        forecast(prepare(resolve([*judged, word.replace("weights.pt", str(tmp_path / "weights.pt"))])))


def test_a_backbone_that_breaks_the_contract_is_refused_without_running(judged: list[str], tmp_path: Path) -> None:
    (tmp_path / "short_net.py").write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.mix = nn.Conv3d(3, 3, 1)\n"
        "    def forward(self, noisy_latents, timesteps, conditioning):\n"
        "        return self.mix(noisy_latents)[:, :, :1]\n"
    )
    (tmp_path / "short.yaml").write_text("backbone: short_net:Net\n")
    with pytest.raises(StbenchError, match="breaks the contract of a backbone: shape"):
        forecast(prepare(resolve([f"variant={tmp_path}/short.yaml", *judged[1:]])))


def test_a_profile_with_a_dataset_is_of_the_network_that_the_run_trains(finished: Path, judged: list[str]) -> None:
    counts = read_record(finished).counts
    [found] = profile_words(judged, COUNTS).variants
    assert found.cost is not None
    assert found.cost.counts == counts
    assert found.input["latents"] == [3, 8, 16, 16]
    assert (found.input["num_classes"], found.input["learned_variance"]) == (4, False)
    images = profile_words([*judged, "train.joint_images=4"], COUNTS).variants[0].cost
    assert images.counts.gmacs_train_step > counts.gmacs_train_step


def test_a_profile_with_a_dataset_refuses_what_no_run_can_have(judged: list[str]) -> None:
    options = ProfileOptions(counts_only=True, latents="4x8x8x8")
    with pytest.raises(StbenchError, match="--latents: those of a run follow from its dataset"):
        profile_words(judged, options)
    with pytest.raises(StbenchError, match=r"unknown .*'train\.stepz'"):
        profile_words([*judged, "train.stepz=3"], COUNTS)
    with pytest.raises(StbenchError, match=r"'width'.* \(variant\.KEY goes to each of latte1,latte2;"):
        profile_words(["variant=latte1,latte2", "variant.width=204", *judged[1:]], COUNTS)


def test_a_width_is_matched_under_the_facts_of_the_run(judged: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [*judged, "variant.depth=2"]
    [found] = profile_words(words, ProfileOptions(counts_only=True, match_params="latte1")).variants
    [wanted] = profile_words(judged, COUNTS).variants
    assert found.cost is not None
    assert found.cost.counts.params_total == pytest.approx(wanted.cost.counts.params_total, rel=0.01)
    word = f"variant.hidden_size={found.variant['arguments']['hidden_size']}"
    told = f"latte1: {word} has {found.cost.counts.params_total:,} parameters"
    assert told in capsys.readouterr().err
    [same] = profile_words([*words, word], COUNTS).variants
    assert same.cost == found.cost
