"""What `stbench list` and `--dry-run` print, compared as whole texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from stbench import paths
from stbench.checks.listing import print_config, print_listing
from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.protocol import PROTOCOLS
from stbench.settings.components import load_component
from stbench.settings.resolve import resolve
from stbench.settings.schema import Contents, dotted_settings


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of these tests in place of the built-in ones, and no folder of the user's own."""
    monkeypatch.setattr(paths, "builtin_config_root", lambda: tmp_path)
    monkeypatch.delenv(paths.CONFIG_DIR_VARIABLE, raising=False)
    (tmp_path / "variants").mkdir()
    (tmp_path / "datasets").mkdir()
    return tmp_path


def printed(what: str, capsys: pytest.CaptureFixture[str]) -> str:
    print_listing(what)
    return capsys.readouterr().out


def test_variants(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read says why, and hides no other; what a file names is not imported."""
    (folders / "variants" / "unet.yaml").write_text("backbone: no_such.module:UNet\nsource: arXiv 1505.04597\n")
    (folders / "variants" / "vast.yaml").write_text(
        "backbone: stbench.backbones.vast:Vast\nexpect: {params_m: 1.50, gmacs: 7}\npublished: {latents: 16x4x8x8}\n"
    )
    (folders / "variants" / "broken.yaml").write_text("- a\n- b\n")
    (folders / "variants" / "plain.yaml").write_text("size: S\n")
    reason = f"{folders}/variants/broken.yaml: expected a mapping of keys to values, found list"
    assert printed("variants", capsys) == (
        "variants\n"
        "  name    family          parameters, M  GMACs a clip  latents     source\n"
        f"  broken  ?                                                        {reason}\n"
        "  plain   ?                                            4x16x32x32\n"
        "  unet    no_such.module                               4x16x32x32  arXiv 1505.04597\n"
        "  vast    vast            1.5            7             16x4x8x8\n"
        "\n"
    )


def test_datasets_of_the_user_hide_others(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "datasets" / "dots.yaml").write_text("dataset: theirs:Dots\nsource: generated\n")
    (folders / "datasets" / "videos.yaml").write_text("dataset: theirs:Videos\nsource: a paper\n")
    (tmp_path / "mine" / "datasets").mkdir(parents=True)
    (tmp_path / "mine" / "datasets" / "dots.yaml").write_text("dataset: mine:Dots\nsource: my own\n")
    monkeypatch.setenv(paths.CONFIG_DIR_VARIABLE, str(tmp_path / "mine"))
    assert printed("datasets", capsys) == (
        "datasets\n"
        "  name    dataset        source\n"
        "  dots    mine:Dots      my own\n"
        "  videos  theirs:Videos  a paper\n"
        "\n"
    )


def test_no_files_are_a_header_alone(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("variants", capsys) == ("variants\n  name  family  parameters, M  GMACs a clip  latents  source\n\n")


def test_presets_stand_side_by_side(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    presets = {
        "quick": {"attention": "math", "train.steps": 6, "train.lr": 1e-3},
        "long": {"train.steps": 1_000_000, "train.lr": 1e-4, "protocol": "latte-2048-16f"},
    }
    monkeypatch.setattr("stbench.settings.presets.PRESETS", presets)
    assert printed("presets", capsys) == (
        "presets\n"
        "  setting      quick  long\n"
        "  attention    math\n"
        "  train.steps  6      1000000\n"
        "  train.lr     0.001  0.0001\n"
        "  protocol            latte-2048-16f\n"
        "\n"
    )


def test_protocols(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("builtin", "latte-2048-16f", "cdfvd-i3d")
    monkeypatch.setattr("stbench.metrics.protocol.PROTOCOLS", {name: PROTOCOLS[name] for name in names})
    assert printed("protocols", capsys) == (
        "protocols\n"
        "  name            detector  preprocessing  frames     real stride  clips\n"
        "  builtin         shapes3d  resize32       the run's  the run's    256\n"
        "  latte-2048-16f  i3d       styleganv      16         3            2048\n"
        "  cdfvd-i3d       i3d       cdfvd          16         1            all\n"
        "\n"
    )


def test_detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    detectors = {name: DETECTORS[name] for name in ("shapes3d", "i3d", "videomae")}
    weights = tmp_path / "i3d.pt"
    weights.touch()
    monkeypatch.setattr("stbench.metrics.catalogue.DETECTORS", detectors)
    monkeypatch.setenv("STBENCH_I3D", str(weights))
    monkeypatch.delenv("STBENCH_VIDEOMAE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    missing = "not found (STBENCH_VIDEOMAE); `stbench doctor` says where to get and put them"
    about = {name: info.description for name, info in detectors.items()}
    width = max(map(len, about.values()))
    assert printed("detectors", capsys) == (
        "detectors\n"
        f"  name      features      {'what it is':{width}}  weights\n"
        f"  shapes3d  64            {about['shapes3d']:{width}}  included\n"
        f"  i3d       400           {about['i3d']:{width}}  found: {weights}\n"
        f"  videomae  the weights'  {about['videomae']:{width}}  {missing}\n"
        "\n"
    )


def test_a_resolved_configuration_with_its_hash_and_folder(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["variant=latte1", "dataset=shapes", "preset=smoke", "seed=3"]
    config = replace(resolve(words), contents=Contents(videos="1" * 64, detector="2" * 64))
    print_config(config)
    out = capsys.readouterr().out
    text, end = out[: out.index("config_hash")], out[out.index("config_hash") :]
    assert yaml.safe_load(text) == config.to_dict()
    assert [line.split(":")[0] for line in text.splitlines() if line[0].isalpha()] == list(config.to_dict())
    assert end == f"config_hash: {config.config_hash}\nrun_id: {config.run_id}\n"


def test_settings_tell_type_range_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing("settings")
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["setting", "default", "expected", "meaning"]
    rows = {
        line.split()[0]: " ".join(line.split())
        for line in out.splitlines()[2:]
        if line.startswith("  ") and line.strip()
    }
    assert set(dotted_settings()) <= set(rows)
    assert rows["train.ema_decay"].startswith("train.ema_decay 0.9999 a number, 0 to 1 decay of the averaged weights")
    assert rows["eval.curve_clips"].startswith("eval.curve_clips null a whole number or null, at least 2")
    assert rows["compile"].startswith("compile off off | default | max-autotune torch.compile")
    assert rows["train.num_workers"].endswith("; itself in no hash")


def test_settings_of_a_variant_and_a_dataset_stand_with_those_of_runs(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing("settings", ["variant=latte1", "dataset=shapes"])
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:] if line}
    assert set(dotted_settings()) <= rows.keys()
    assert rows["variant.arrangement"].split()[1] == "interleaved"  # what the file says
    assert "a whole number or null" in rows["variant.depth"]
    assert rows["dataset.motions"].split()[1].startswith("[right,left,")
    assert rows["eval.untrained"].split()[1] == "true"  # as the command line spells it
    assert "follows from the run" in rows["variant.num_classes"]
    assert rows["dataset.image_size"].split()[1] == str(load_component("dataset", "shapes").settled["image_size"])
    with pytest.raises(StbenchError, match="variant=NAME and dataset=NAME are for `stbench list settings`"):
        print_listing("presets", ["variant=latte1"])
    with pytest.raises(StbenchError, match="unknown word 'preset'"):
        print_listing("settings", ["preset=demo"])
