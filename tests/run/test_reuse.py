"""A trained run, or published weights, used again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import stbench
from stbench.backbones.published import to_published
from stbench.errors import StbenchError
from stbench.records.schema import value_at
from stbench.records.store import find_records, load_records, read_record
from stbench.reports.runs import load_runs
from stbench.run.reuse import evaluate_again, sample_from
from stbench.run.setup import prepare
from stbench.run.stages import run
from stbench.settings.resolve import resolve
from stbench.training.start import read_any_weights

OWN_NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(in_channels, in_channels, 1)

    def forward(self, noisy_latents, timesteps, conditioning):
        return self.mix(noisy_latents) * (1 + timesteps / 1000).view(-1, 1, 1, 1, 1)
"""
SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]


def test_sample_and_evaluate_use_a_run_again(finished: Path, tmp_path: Path) -> None:
    picture = sample_from(str(finished), ["eval.cfg_scale=2"], num=5, out=tmp_path)
    assert picture.read_bytes()[:4] == b"RIFF"
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["clips"].shape == (5, 8, 16, 16, 3)
    before = sorted(finished.iterdir())
    same = evaluate_again(str(finished), [], tmp_path).quality
    assert same.fvd == pytest.approx(read_record(finished).quality.fvd, rel=1e-6)
    guided = evaluate_again(str(finished), ["eval.cfg_scale=2", "eval.num_clips=8"], tmp_path).quality
    rounded = evaluate_again(str(finished), ["precision=bfloat16", "eval.num_clips=8"], tmp_path).quality
    kept = [item.record.quality.protocol_hash for item in find_records([tmp_path]).stored]
    assert len(kept) == 3  # none in place of another
    assert set(kept) == {each.protocol_hash for each in (same, guided, rounded)}
    assert sorted(finished.iterdir()) == before
    with pytest.raises(StbenchError, match=r"train\.lr cannot be changed for a finished run"):
        evaluate_again(str(finished), ["train.lr=1"], tmp_path)


def test_a_loaded_run_is_sampled_and_evaluated_from_python(finished: Path) -> None:
    trained = stbench.load_run(finished, {"device": "cpu"})
    assert not trained.backbone.training
    assert trained.config.settings.train.steps == 6
    assert trained.record == read_record(finished)
    saved = read_any_weights(finished)[0]
    assert all(torch.equal(value, saved[name]) for name, value in trained.backbone.state_dict().items())

    clips = stbench.sample(trained, 3)
    assert (clips.clips.shape, clips.clips.dtype, clips.labels.tolist()) == ((3, 8, 16, 16, 3), np.uint8, [0, 1, 2])
    np.testing.assert_array_equal(stbench.sample(finished, num=5).clips[:3], clips.clips)
    other = stbench.sample(trained, 3, {"eval.seed": 1})
    assert not np.array_equal(other.clips, clips.clips)
    assert stbench.evaluate(trained, ["eval.num_clips=8"]).n_fake == 8
    assert trained.steps == 6
    validation, other = stbench.validate(trained), stbench.validate(finished, {"eval.seed": 1})
    assert validation.curve[:-1] == trained.record.validation.curve[:-1]
    assert validation.loss == pytest.approx(trained.record.validation.loss, rel=1e-6)
    assert other.protocol_hash != validation.protocol_hash
    assert [point.step for point in other.curve] == [6]
    assert other.loss == pytest.approx(validation.loss, rel=0.1)
    with pytest.raises(StbenchError, match=r"^no validation loss: eval\.validation_clips=0$"):
        stbench.validate(trained, {"eval.validation_clips": 0})
    with pytest.raises(StbenchError, match="num=0: expected at least 1"):
        stbench.sample(trained, 0)


def test_weights_that_were_changed_in_python_are_those_that_are_sampled(finished: Path) -> None:
    trained = stbench.load_run(finished)
    before = stbench.sample(trained, 1, {"eval.seed": 3}).clips
    with torch.no_grad():
        for parameter in trained.backbone.train().parameters():
            parameter.mul_(0.5)
    assert not np.array_equal(stbench.sample(trained, 1, {"eval.seed": 3}).clips, before)


def test_a_run_by_name_is_the_run_of_its_words(finished: Path, judged: list[str], tmp_path: Path) -> None:
    """Numbers as Python has them make the same run as words do."""
    settings = {
        **dict(word.split("=") for word in judged),
        "eval.num_clips": 80,
        "eval.every": 6,
        "eval.curve_clips": 70,
    }
    assert stbench.run(settings, out=finished.parent, resume=True) == finished


def test_an_evaluation_is_a_record_of_its_own(finished: Path, tmp_path: Path) -> None:
    before = read_record(finished)
    settings = {"eval.cfg_scale": 2.0, "eval.num_clips": 8}
    unchanged = stbench.evaluate(finished, out=tmp_path)
    guided = stbench.evaluate(finished, settings, out=tmp_path)
    stbench.evaluate(finished, settings, out=tmp_path)  # takes the place of the one before
    stored = [item.record for item in find_records([tmp_path]).stored]
    records = {record.quality.protocol_hash: record for record in stored}
    assert records.keys() == {unchanged.protocol_hash, guided.protocol_hash}
    of_guided = records[guided.protocol_hash]
    assert of_guided.quality == guided
    assert of_guided.validation.loss == pytest.approx(before.validation.loss, rel=1e-6)
    assert (of_guided.counts, of_guided.training) == (before.counts, before.training)
    assert value_at(of_guided.config, "eval.cfg_scale") == 2
    assert value_at(of_guided.config, "trained_as") == before.group_hash[:12]
    # Not even one under unchanged settings counts as another seed of the run.
    assert len({before.group_hash, *(record.group_hash for record in records.values())}) == 3
    assert load_records(tmp_path)["eval.cfg_scale"].tolist() == [
        value_at(record.config, "eval.cfg_scale") for record in stored
    ]
    labels = [label for label, _ in load_runs([finished, tmp_path]).labelled()]
    assert len(set(labels)) == 3  # as of a report


def test_an_evaluation_of_a_run_that_is_not_finished_is_shown_and_not_kept(finished: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "runs" / "stopped"
    shutil.copytree(finished, stopped)
    (stopped / "result.json").unlink()
    assert evaluate_again(str(stopped), ["eval.num_clips=8"], None).quality.n_fake == 8
    assert [path.name for path in stopped.parent.iterdir()] == ["stopped"]
    with pytest.raises(StbenchError, match="stopped is no finished run: its evaluation cannot be kept"):
        evaluate_again(str(stopped), [], tmp_path / "out")


def test_a_weights_file_is_evaluated_as_a_run_of_no_steps(finished: Path, tmp_path: Path) -> None:
    checkpoint = sorted((finished / "checkpoints").iterdir())[-1]
    words = ["variant=latte1", *SMOKE, "eval.num_clips=80"]
    quality = evaluate_again(str(checkpoint), words, tmp_path).quality
    assert quality.fvd == pytest.approx(read_record(finished).quality.fvd, rel=1e-6)
    assert sample_from(str(checkpoint), words, num=2, out=tmp_path / "some").is_file()


@pytest.mark.parametrize("word", ["train.steps=3", "train.init=elsewhere"])
def test_a_weights_file_is_not_trained(word: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    with pytest.raises(StbenchError, match=rf"^{word.partition('=')[0]} follows from the weights file"):
        evaluate_again(str(tmp_path / "w.safetensors"), ["variant=latte1", "dataset=shapes", word], tmp_path)


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (["variant=latte1", "variant.num_heads=6"], "num_heads=None instead of 6"),
        (["variant=latte2"], "arrangement=interleaved instead of late_fusion"),
    ],
)
def test_weights_of_another_arrangement_are_refused_though_they_fit(
    words: list[str], difference: str, finished: Path, tmp_path: Path
) -> None:
    checkpoint = sorted((finished / "checkpoints").iterdir())[-1]
    for source in (checkpoint, finished):
        with pytest.raises(StbenchError, match=rf"weights of another network: {difference}$"):
            run(resolve([*words, *SMOKE, f"train.init={source}", "train.steps=0"]), tmp_path)
    with pytest.raises(StbenchError, match="weights of another network"):
        evaluate_again(str(checkpoint), [*words, *SMOKE], tmp_path)


def test_the_authors_file_is_used_directly(tmp_path: Path) -> None:
    """`stbench run train.init=`, `sample` and `evaluate` take a file {'model', 'ema'} with the authors' names."""
    words = ["variant=latte1", *SMOKE]
    published = to_published(prepare(resolve(words)).build_backbone())
    torch.save(
        {"model": {name: torch.zeros_like(t) for name, t in published.items()}, "ema": published}, tmp_path / "a.pt"
    )
    trained = run(resolve([*words, f"train.init={tmp_path / 'a.pt'}", "train.steps=0"]), tmp_path / "runs")
    assert read_record(trained).finished
    assert evaluate_again(str(tmp_path / "a.pt"), [*words, "eval.cfg_scale=3"], tmp_path / "runs").quality.n_fake == 8
    assert sample_from(str(tmp_path / "a.pt"), words, num=3, out=tmp_path / "shown").is_file()


def test_a_backbone_of_ones_own_is_used_again_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run carries its code; it runs when asked for."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "reused_net.py").write_text(OWN_NET)
    (tmp_path / "here" / "mine.yaml").write_text("backbone: reused_net:Net\n")
    trained = run(resolve([f"variant={tmp_path}/here/mine.yaml", *SMOKE, "eval.num_clips=80"]), tmp_path / "runs")
    moved = trained.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "here")
    with pytest.raises(StbenchError, match="names code that is not stbench's, reused_net:Net: --trust-code runs it"):
        evaluate_again(str(moved), [], tmp_path)
    quality = evaluate_again(str(moved), [], tmp_path, trust_code=True).quality
    assert quality.fvd == pytest.approx(read_record(moved).quality.fvd, rel=1e-6)
    assert sample_from(str(moved), [], num=2, out=None, trust_code=True).is_file()


def test_nothing_to_use_again(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match="nowhere does not exist: expected a run's folder or a weights file"):
        evaluate_again(str(tmp_path / "nowhere"), [], tmp_path)
    with pytest.raises(StbenchError, match="is not a run's folder: it has no config"):
        sample_from(str(tmp_path), [], num=1, out=None)
