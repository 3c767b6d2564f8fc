"""The package itself: a cheap import, the promised names, and a wheel that runs without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stbench


def test_importing_is_cheap_and_names_are_there() -> None:
    heavy = ("torch", "pandas", "matplotlib", "scipy", "av", "omegaconf", "typer")
    code = f"import sys, stbench; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    for name in stbench.__all__:
        assert getattr(stbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = stbench.no_such_name


def test_the_wheel_runs_by_itself(repository: Path, tmp_path: Path) -> None:
    """Built by the project's own backend, unpacked far from the checkout: `list` and a smoke run."""
    for command in (
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(repository)],
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site"), "WHEEL"],
    ):
        wheel = next(tmp_path.glob("*.whl"), None)
        done = subprocess.run(
            [str(wheel) if word == "WHEEL" else word for word in command], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "stbench.cli", *words]
        finished = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, env=environment)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    assert "latte4" in run("list", "variants")
    code = "import stbench.paths; print(stbench.paths.builtin_config_root())"
    root = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=elsewhere, env=environment)
    assert root.stdout.strip() == str(tmp_path / "site" / "stbench" / "configs")
    assert "FVD [shapes3d]" in run("run", "variant=latte1", "dataset=shapes", "preset=smoke", "device=cpu")
    assert len(list((elsewhere / "runs").glob("*/result.json"))) == 1
