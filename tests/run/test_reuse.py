"""A trained run, or published weights, used again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stbench.backbones.published import to_published
from stbench.errors import StbenchError
from stbench.records.store import read_record
from stbench.run.reuse import evaluate_again, sample_from
from stbench.run.setup import prepare
from stbench.run.stages import run
from stbench.settings.resolve import resolve

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
    same = evaluate_again(str(finished), [], tmp_path)
    assert same.fvd == pytest.approx(read_record(finished).quality.fvd, rel=1e-6)
    guided = evaluate_again(str(finished), ["eval.cfg_scale=2", "eval.num_clips=8"], tmp_path)
    rounded = evaluate_again(str(finished), ["precision=bfloat16", "eval.num_clips=8"], tmp_path)
    written = {path.name for path in finished.glob("evaluation-*.json")}  # none in place of another
    assert written == {f"evaluation-{quality.protocol_hash[:8]}.json" for quality in (same, guided, rounded)}
    assert len(written) == 3
    with pytest.raises(StbenchError, match=r"train\.lr cannot be changed for a finished run"):
        evaluate_again(str(finished), ["train.lr=1"], tmp_path)


def test_a_weights_file_is_evaluated_as_a_run_of_no_steps(finished: Path, tmp_path: Path) -> None:
    checkpoint = sorted((finished / "checkpoints").iterdir())[-1]
    words = ["variant=latte1", *SMOKE, "eval.num_clips=80"]
    quality = evaluate_again(str(checkpoint), words, tmp_path)
    assert quality.fvd == pytest.approx(read_record(finished).quality.fvd, rel=1e-6)
    assert sample_from(str(checkpoint), words, num=2, out=tmp_path / "some").is_file()


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
    assert evaluate_again(str(tmp_path / "a.pt"), [*words, "eval.cfg_scale=3"], tmp_path / "runs").n_fake == 8
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
    quality = evaluate_again(str(moved), [], tmp_path, trust_code=True)
    assert quality.fvd == pytest.approx(read_record(moved).quality.fvd, rel=1e-6)
    assert sample_from(str(moved), [], num=2, out=None, trust_code=True).is_file()


def test_nothing_to_use_again(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match="nowhere does not exist: expected a run's folder or a weights file"):
        evaluate_again(str(tmp_path / "nowhere"), [], tmp_path)
    with pytest.raises(StbenchError, match="is not a run's folder: it has no config"):
        sample_from(str(tmp_path), [], num=1, out=None)
