"""`stbench check`: what is asked beside the rules of the contract, what is printed, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from stbench.checks import backbone
from stbench.checks.backbone import BackboneCheck, check_backbone, print_check
from stbench.cli import app
from stbench.errors import CheckFailed, FinishedInPart, StbenchError

MODULE = """
import torch
from torch import nn
from stbench import Attend

class Own(nn.Module):
    def __init__(self, in_channels, num_classes=0, width=8, attention="", mixing=""):
        super().__init__()
        self.enter, self.leave = nn.Conv3d(in_channels, width, 3, padding=1), nn.Conv3d(width, in_channels, 1)
        self.time, self.label = nn.Linear(1, width), nn.Embedding(num_classes + 1, width)
        self.attend, self.mixing = Attend() if attention else None, mixing
        if mixing == "unbuildable":
            raise RuntimeError("no mixing")

    def forward(self, x, t, conditioning):
        told = self.time(t[:, None] / 1000) + self.label(conditioning.class_labels)
        h = self.enter(x) + told[..., None, None, None]
        if self.attend:
            tokens = h.flatten(2).transpose(1, 2)[:, None]
            h = self.attend(tokens, tokens, tokens)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
        if self.mixing == "fft":
            h = torch.fft.fft(h.float(), dim=2).real
        if self.mixing == "item":
            h = h * self.enter.weight.sum().item()
        return self.leave(h)[:, :, : 1 if self.mixing == "one frame" else None]
"""
CPU = ["device=cpu", "precision=float32", "attention=math", "dataset.num_frames=4", "dataset.image_size=8"]


@pytest.fixture
def variant(tmp_path: Path) -> str:
    """A variant of one's own, whose module lies beside its file."""
    (tmp_path / "own.py").write_text(MODULE)
    (tmp_path / "own.yaml").write_text("backbone: own:Own\n")
    return f"variant={tmp_path}/own.yaml"


def found(check: BackboneCheck) -> dict[str, tuple[str, str]]:
    return {verdict.name: (verdict.status, verdict.reason) for verdict in check.verdicts}


def test_a_sound_backbone_passes(variant: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = check_backbone([variant, *CPU, "variant.attention=own"])
    verdicts = found(check)
    assert {status for status, _ in verdicts.values()} == {"passed", "n/a"}
    assert verdicts["attention"] == ("passed", "attention= reaches 1 module")
    assert verdicts["parameters"] == ("n/a", "the file expects none (expect: {params_m: 12.34})")
    assert verdicts["operations"][1].endswith(" GMACs a clip, by torch, closed_form, fvcore")
    check.raise_if_failed()
    print_check(check)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0][:-12] == f"variant {variant[8:]}: dataset shapes, preset smoke, flow, 4 latents of 3x4x8x8, code "
    assert lines[1] == "  passed  builds            0.00 M parameters"
    assert lines[6] == "  -       joint images      train.joint_images=0"
    assert len(lines) == 1 + len(check.verdicts)


def test_what_counters_and_backends_do_not_reach_is_told(variant: str) -> None:
    check = check_backbone([variant, *CPU, "variant.mixing=fft"])
    verdicts = found(check)
    assert verdicts["attention"] == ("n/a", "attention= reaches no module; one that it reaches is stbench.Attend")
    assert verdicts["operations"][0] == "note"
    assert "fft" in " ".join(verdict.reason for verdict in check.verdicts)
    check.raise_if_failed()


def test_nothing_is_asked_of_the_counters_where_the_basics_fail(variant: str) -> None:
    check = check_backbone([variant, *CPU, "variant.mixing='one frame'"])
    assert list(found(check)) == ["builds", "answers", "shape"]
    with pytest.raises(CheckFailed, match=r"own\.yaml: shape: returned \(2, 3, 1, 8, 8\), expected") as caught:
        check.raise_if_failed()
    assert caught.value.exit_status == 1


def test_what_needs_values_cannot_be_counted(variant: str) -> None:
    check = check_backbone([variant, *CPU, "variant.mixing=item"])
    status, reason = found(check)["operations"]
    assert (status, "operations cannot be counted" in reason) == ("failed", True)
    with pytest.raises(CheckFailed, match=r"operations: operations cannot be counted.*"):
        check.raise_if_failed()


@pytest.mark.parametrize(
    ("expect", "status", "reason"),
    [
        ("{params_m: 32.48}", "passed", "32.4807 M trained, as expected (32.48 M)"),
        ("{params_m: 32.5}", "passed", "32.4807 M trained, as expected (32.5 M)"),
        ("{params_m: 32}", "passed", "32.4807 M trained, as expected (32 M)"),
        ("{params_m: 32.49}", "failed", "32.4807 M trained, expect: 32.49 M"),
        ("{params_m: 32.481}", "passed", "32.4807 M trained, as expected (32.481 M)"),
        ("{params_m: lots}", "failed", "expect: params_m=lots: expected a number"),
        ("{params_m: 32.50}", "passed", "32.4807 M trained, as expected (32.5 M)"),
        ("{params_m: 32.47}", "failed", "32.4807 M trained, expect: 32.47 M"),
        ("{params_m: 99}", "failed", "32.4807 M trained, expect: 99 M"),
        ("{params_m: 32.48, gmacs: many}", "failed", "expect: gmacs=many: expected a number"),
        ("{param_m: 32.48}", "failed", "expect: unknown key 'param_m': known: params_m, gmacs"),
    ],
)
def test_expected_parameters(
    expect: str, status: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the file's own network, whatever the preset and the words make of it."""
    file = tmp_path / "mine.yaml"
    presets = "presets: {smoke: {size: tiny, depth: 2, patch_size: 4}}"
    file.write_text(f"backbone: stbench.backbones.latte:Latte\n{presets}\nexpect: {expect}\n")
    monkeypatch.setattr(backbone, "_counted", lambda setup: [])
    monkeypatch.setattr(backbone, "examine", lambda *asked: [None] * len(backbone.RULES))
    check = check_backbone([f"variant={file}", *CPU, "variant.num_heads=2"])
    verdict = check.verdicts[-1]
    assert verdict.name == ("published operations" if "gmacs" in expect else "parameters")
    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(
    ("module", "words", "reason"),
    [
        ("def broken(:\n", [], r"cannot import it: SyntaxError: invalid syntax \(.*own\.py:1\)"),
        ("import nowhere\n", [], r"ModuleNotFoundError: No module named 'nowhere' \(.*own\.py:1\)"),
        ("class Own: pass\n", [], "expected a class that inherits from Module"),
        (MODULE, ["variant.mixing=unbuildable"], r"RuntimeError: no mixing \(.*own\.py:\d+\)"),
    ],
    ids=["syntax", "import", "no module", "constructor"],
)
def test_what_cannot_be_built_is_a_failed_check(
    module: str, words: list[str], reason: str, variant: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(module)
    check = check_backbone([variant, *CPU, *words])
    assert list(found(check)) == ["builds"]
    with pytest.raises(CheckFailed, match=reason):
        check.raise_if_failed()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "variant=NAME is missing"),
        (["variant=late1"], "unknown variant 'late1': did you mean 'latte1'"),
        (["variant=latte1", "variant.sizee=S"], "unknown key of variant 'latte1' 'sizee'"),
        (["variant=latte1", "dataset=ucf101"], r"ucf101 needs its folder, dataset\.root="),
        (["variant=latte1", "train.step=3"], "unknown key 'train.step'"),
    ],
    ids=["nothing", "variant", "argument", "dataset", "setting"],
)
def test_wrong_words_are_no_failed_check(words: list[str], message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        check_backbone(words)
    assert caught.value.exit_status == 2


def test_memory_that_runs_out_is_no_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*asked: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backbone, "examine", exhausted)
    with pytest.raises(FinishedInPart, match=r"a smaller train\.batch_size may do: CUDA out of memory"):
        check_backbone(["variant=latte1", *CPU])


def test_the_command(variant: str, tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    words = [variant, *CPU, "variant.mixing='one frame'"]
    done = CliRunner().invoke(app, ["check", *words, "--json", str(out)])
    assert "  FAILED  shape    returned (2, 3, 1, 8, 8), expected" in done.output
    assert isinstance(done.exception, CheckFailed)
    content = json.loads(out.read_text())
    assert content["verdicts"][0] == {"name": "builds", "status": "passed", "reason": "0.00 M parameters"}
    assert content["run"].startswith("dataset shapes, preset smoke")
    printed = CliRunner().invoke(app, ["check", *words, "--json", "-"]).output
    assert json.loads(printed) == content
