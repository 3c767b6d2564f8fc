"""The commands as a user types them: output, exit status, and what is not imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stbench.run.stages import run
from stbench.settings.resolve import resolve

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu"]


def stbench(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "stbench.cli", *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    for variant in ("latte1", "pseudo3d_unet"):
        run(resolve([f"variant={variant}", *SMOKE, "eval.num_clips=70"]), out)
    return out


def test_list_names_everything() -> None:
    done = stbench("list")
    assert done.returncode == 0
    for name in ("latte4", "pseudo3d_unet", "skytimelapse", "clouds", "demo", "latte-2048-16f", "shapes3d", "i3d"):
        assert name in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list"],
        ["run", "--help"],
        ["report", "RUNS", "--out", "OUT"],
        ["compare", "RUNS", "RUNS", "--out", "OUT"],
    ],
    ids=lambda words: words[0],
)
def test_torch_is_not_imported(words: list[str], runs: Path, tmp_path: Path) -> None:
    given = [{"RUNS": str(runs), "OUT": str(tmp_path / "out")}.get(word, word) for word in words]
    code = (
        "import sys\nfrom stbench.cli import app\n"
        f"try:\n    app({given!r}, standalone_mode=False)\nexcept SystemExit:\n    pass\n"
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_dry_run_prints_and_makes_nothing(tmp_path: Path) -> None:
    words = ["variant=latte1", *SMOKE]
    done = stbench("run", *words, "--dry-run", "--out", tmp_path / "runs")
    assert done.returncode == 0
    assert f"config_hash: {resolve(words).config_hash}" in done.stdout
    assert "depth" not in done.stdout
    assert not (tmp_path / "runs").exists()


def test_report_and_compare(runs: Path, tmp_path: Path) -> None:
    done = stbench("report", *sorted(runs.iterdir()), "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert "FVD[shapes3d]" in done.stdout
    assert str(tmp_path / "report" / "index.html") in done.stdout
    page = (tmp_path / "report" / "index.html").read_text()
    assert "latte1" in page
    assert "pseudo3d_unet" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    done = stbench("compare", *sorted(runs.iterdir()), "--out", tmp_path / "comparison")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison" / "compare.html").is_file()
    assert "gmacs" in done.stdout.lower()


def test_profile_as_json() -> None:
    done = stbench("profile", "variant=latte1", "variant.size=XL", "--counts-only", "--json", "-")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["counts"]
    assert counts["params_trainable"] == 673_681_568
    assert counts["conventions"]["thop_batch3"] == pytest.approx(5572.695048, abs=1e-6)


def test_profile_with_times(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    words = ["variant=latte1", "preset=smoke", "variant.sample_size=8", "variant.num_frames=4", "precision=float32"]
    done = stbench("profile", *words, "device=cpu", "--batch-size", "2", "--json", path)
    assert done.returncode == 0, done.stderr
    assert "train_step" in done.stdout
    content = json.loads(path.read_text())
    assert content["timing"]["forward"]["batch_size"] == 2
    assert content["input"]["latents"] == [4, 4, 8, 8]


def test_paper_count_of_variant_4_comes_with_its_explanation() -> None:
    done = stbench("profile", "variant=latte4", "variant.size=XL", "variant.patch_size=4", "--counts-only")
    assert "1545.157 G" in done.stdout
    assert "patch size" in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["run", "varient=latte1", "dataset=shapes"], 2, "variant=NAME is missing"),
        (["run", "variant=latte7", "dataset=shapes"], 2, "unknown variant 'latte7': did you mean"),
        (["profile", "variant=latte1", "variant.sizes=S"], 2, "did you mean 'size'"),
        (["report", "nowhere", "--out", "there"], 2, "nowhere"),
        (["compare", "nowhere", "nowhere", "--out", "there"], 2, "nowhere"),
        (["evaluate", "nowhere"], 2, "nowhere does not exist"),
        (["sample", "."], 2, "is not a run's folder"),
        (["frobnicate"], 2, "No such command"),
        (["--config-dir", "nowhere", "list"], 2, "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(words: list[str], status: int, message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stbench.cli", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_doctor() -> None:
    done = stbench("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("precision=auto", "math", "cudnn", "shapes3d", "STBENCH_SD_VAE"):
        assert word in done.stdout
