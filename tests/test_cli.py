"""The commands as a user types them: output, exit status, and what is not imported."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from stbench import __version__
from stbench.cli import _write_json, app, main
from stbench.errors import CheckFailed, FinishedInPart, NotComparable, StbenchError
from stbench.run.setup import prepare
from stbench.run.stages import run
from stbench.settings.options import FvdOptions, NoiseOptions, ProfileOptions
from stbench.settings.resolve import resolve
from stbench.signals import Interrupted
from stbench.storage.clips import Clips

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
    lines = done.stdout.splitlines()
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert titles == ["variants", "datasets", "presets", "protocols", "detectors", "claims", "settings"]
    for title in titles:  # one kind alone is its part of the whole
        first = lines.index(title)
        part = lines[first : lines.index("", first) + 1]
        assert CliRunner().invoke(app, ["list", title]).output.splitlines() == part


def test_no_command_is_an_answer_too() -> None:
    """The commands, in the order in which one needs them, each with a line of help."""
    done = CliRunner().invoke(app, ["--help"], terminal_width=200)
    assert done.exit_code == 0
    lines = done.output[done.output.index("Commands:") :].splitlines()[1:]
    commands = [line.split(maxsplit=1) for line in lines if line.strip()]
    assert [name for name, _ in commands] == [
        "list",
        "check",
        "run",
        "sweep",
        "reproduce",
        "profile",
        "sample",
        "cascade",
        "evaluate",
        "fvd",
        "report",
        "compare",
        "doctor",
        "study",
    ]
    assert all(about.strip().endswith((".", "...")) for _, about in commands)


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "stbench", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"stbench {__version__}\n")


def test_a_folder_without_configurations_is_no_configuration_folder(tmp_path: Path) -> None:
    with pytest.raises(StbenchError, match=r"--config-dir .*: expected a folder with variants/ or datasets/ in it"):
        CliRunner().invoke(app, ["--config-dir", str(tmp_path), "list", "variants"], catch_exceptions=False)


def test_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"stbench {__version__}\n")


def test_json_goes_to_a_file_whole_or_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cost.json"
    _write_json(str(path), {"fvd": 1.5, "reason": None})
    assert path.read_text() == '{\n "fvd": 1.5,\n "reason": null\n}\n'
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        _write_json(str(path), {"fvd": float("nan")})
    assert json.loads(path.read_text())["fvd"] == 1.5  # what was there is untouched
    assert [each.name for each in tmp_path.iterdir()] == ["cost.json"]
    _write_json("-", {"fvd": 1.5})
    assert capsys.readouterr().out == '{\n "fvd": 1.5\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        _write_json("-", [float("inf")])


PLACES = ["file", "file/below", "x" * 300, "/proc/none"]  # where nothing can be written


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:10])
@pytest.mark.parametrize(
    ("words", "work"),
    [
        (["run", "variant=latte1", *SMOKE, "--out", "PLACE"], "stbench.run.stages.prepare"),
        (["sample", ".", "--out", "PLACE"], "stbench.run.reuse.prepare"),
        (["cascade", ".", ".", "--out", "PLACE"], "stbench.run.cascade.cascade"),
        (["evaluate", ".", "--json", "PLACE/x.json"], "stbench.run.reuse.evaluate_again"),
        (["profile", "variant=latte1", "--out", "PLACE/x"], "stbench.run.preview.profile_words"),
        (["profile", "variant=latte1", "--json", "PLACE/x.json"], "stbench.run.preview.profile_words"),
        (["fvd", "clips.npz", "clips.npz", "--out", "PLACE"], "stbench.fvd.measure._side_features"),
        (["fvd", "clips.npz", "clips.npz", "--json", "PLACE/x.json"], "stbench.fvd.measure.measure"),
        (["study", "noise", "--out", "PLACE/x"], "stbench.studies.noise.NoiseStudy.run"),
    ],
    ids=lambda value: " ".join(value[::2]) if isinstance(value, list) else "",
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    words: list[str],
    work: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    clips = Clips(np.zeros((2, 16, 16, 16, 3), np.uint8), np.zeros(2, np.int64))
    clips.save(Path("clips.npz"))
    monkeypatch.setattr(work, lambda *_: pytest.fail("the work was begun"))
    monkeypatch.setattr(sys, "argv", ["stbench", *(word.replace("PLACE", place) for word in words)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("stbench: cannot ") and place in err and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips.npz", "file"]


@pytest.mark.parametrize(
    ("words", "called", "options"),
    [
        (
            ["profile", "variant=latte1", "--find-batch-size", "--max-batch-size", "8", "--scale", "frames=8,16"],
            "stbench.run.preview.profile_words",
            ProfileOptions(find_batch_size=True, max_batch_size=8, scale=["frames=8,16"]),
        ),
        (
            ["fvd", ".", ".", "--no-control", "--workers", "3", "--out", "there", "--device", "cpu"],
            "stbench.fvd.measure.measure",
            FvdOptions(no_control=True, num_workers=3, out=Path("there"), device="cpu"),
        ),
        (
            ["study", "noise", "dataset=clouds", "--num", "64", "--dim", "0", "--weights", "i3d.pt"],
            "stbench.studies.noise.study_noise",
            NoiseOptions(num=64, dim=0, weights=Path("i3d.pt")),
        ),
    ],
    ids=["profile", "fvd", "study noise"],
)
def test_options_reach_the_code_as_one_object(
    words: list[str], called: str, options: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def stop(*arguments: object) -> None:
        given.extend(arguments)
        raise StbenchError("far enough")

    monkeypatch.setattr(called, stop)
    done = CliRunner().invoke(app, words)
    assert str(done.exception) == "far enough"
    assert options in given


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (StbenchError("no such thing"), 2, "stbench: no such thing\n"),
        (CheckFailed("worse"), 1, "stbench: worse\n"),
        (FinishedInPart("half"), 3, "stbench: half\n"),
        (NotComparable("apples"), 4, "stbench: apples\n"),
        (Interrupted(15), 143, "stbench: stopped by SIGTERM\n"),
        (Interrupted(2, "--resume goes on"), 130, "stbench: stopped by SIGINT: --resume goes on\n"),
    ],
    ids=["wrong use", "regression", "in part", "not comparable", "terminated", "interrupted"],
)
def test_errors_become_one_line_and_a_status(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("stbench.cli.app", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert capsys.readouterr() == ("", message)


def test_a_signal_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("stbench.cli.app", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "stbench: stopped by SIGINT\n")


def test_who_stops_reading_is_no_failed_check() -> None:
    """As `stbench list | head -1`: an exit status of 1 would say that a check had failed."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "stbench.cli", "list"], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


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
    assert f"config_hash: {prepare(resolve(words)).config.config_hash}" in done.stdout
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
        (["run", "varient=latte1", "dataset=shapes"], 2, "unknown key 'varient': did you mean 'variant'"),
        (["run", "variant=latte7", "dataset=shapes"], 2, "unknown variant 'latte7': did you mean"),
        (["profile", "variant=latte1", "variant.sizes=S"], 2, "did you mean 'size'"),
        (["report", "nowhere", "--out", "there"], 2, "nowhere"),
        (["compare", "nowhere", "nowhere", "--out", "there"], 2, "nowhere"),
        (["evaluate", "nowhere"], 2, "nowhere does not exist"),
        (["sample", "."], 2, "is not a run's folder"),
        (["cascade", "nowhere", "."], 2, "nowhere does not exist"),
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


def test_an_error_of_stbench_itself_is_one_line_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its exit status is nobody's regression."""

    namespace: dict[str, Any] = {}
    exec('def broken(*_): raise ZeroDivisionError("nobody thought of it")', namespace)  # in no file of a user's
    monkeypatch.setattr("stbench.checks.listing.print_listing", namespace["broken"])
    monkeypatch.setattr(sys, "argv", ["stbench", "list", "variants"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == os.EX_SOFTWARE == 70
    told = capsys.readouterr().err
    [kept] = (tmp_path / "stbench").iterdir()
    assert told.count("\n") == 1
    assert told.startswith("stbench: internal error: ZeroDivisionError: nobody thought of it")
    assert told.endswith(f"; please report it with {kept}\n")
    assert kept.read_text().startswith(f"stbench {__version__}: stbench list variants\n\nTraceback")
    monkeypatch.setenv("XDG_STATE_HOME", str(kept))  # where nothing can be written
    with pytest.raises(SystemExit):
        main()
    assert "its traceback cannot be kept:\nTraceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"), [(SystemExit(0), "SystemExit: 0"), (KeyError("width"), "KeyError: 'width'")]
)
def test_what_ends_in_code_of_the_users_names_its_line(
    error: BaseException, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`stbench evaluate` with a detector that calls `sys.exit(0)` passed for done."""

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("stbench.checks.listing.print_listing", broken)
    monkeypatch.setattr(sys, "argv", ["stbench", "list", "variants"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert re.fullmatch(rf"stbench: {re.escape(said)} \(.*test_cli\.py:\d+\)\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("error", "told", "status"),
    [
        (OSError(28, "No space left on device", "a/b.png"), "stbench: a/b.png: No space left on device\n", 2),
        (MemoryError("8 GiB"), "stbench: out of memory: 8 GiB\n", 3),
        (torch.OutOfMemoryError("8 GiB"), "stbench: out of memory: 8 GiB\n", 3),
    ],
)
def test_what_a_machine_lacks_is_no_error_of_stbench(
    error: Exception, told: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*words: object) -> None:
        raise error

    monkeypatch.setattr("stbench.checks.listing.print_listing", broken)
    monkeypatch.setattr(sys, "argv", ["stbench", "list", "variants"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (status, told)
