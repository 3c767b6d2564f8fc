"""The package itself: a cheap import, the promised names, and a wheel that runs without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stbench


def imported(names: tuple[str, ...], code: str) -> list[str]:
    """Which of the modules `names` are there after a fresh process ran `code`."""
    code = f"import sys\n{code}\nprint(*[name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_is_cheap() -> None:
    heavy = ("torch", "numpy", "pandas", "matplotlib", "scipy", "av", "omegaconf", "typer", "pydantic")
    assert imported(heavy, "import stbench") == []
    assert imported(heavy, "import stbench; stbench.StbenchError; dir(stbench)") == []


def test_the_command_line_waits_with_what_is_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "matplotlib", "scipy", "av", "omegaconf", "yaml", "pydantic", "jinja2")
    assert imported(heavy, "import stbench.cli") == []


@pytest.mark.parametrize("room", ["records", "reports", "settings"])
def test_rooms_that_read_results_need_no_torch(room: str, repository: Path) -> None:
    files = sorted((repository / "stbench" / room).rglob("*.py"))
    modules = [".".join(file.relative_to(repository).with_suffix("").parts) for file in files]
    assert len(modules) > 2
    code = "\n".join(f"import {module.removesuffix('.__init__')}" for module in modules)
    assert imported(("torch",), code) == []


@pytest.mark.parametrize("name", stbench.__all__)
def test_a_promised_name_is_there(name: str) -> None:
    value = getattr(stbench, name)
    assert name in dir(stbench)
    if name == "__version__":
        assert value.count(".") == 2
    elif name != "run":  # which is a package, too
        assert value.__name__ == name
        assert value.__module__.startswith("stbench.")
        assert value.__doc__


@pytest.mark.parametrize(
    "code",
    [
        "import stbench; room = stbench.run; import stbench.run.stages; assert stbench.run is room",
        "import stbench.run.stages; import stbench",
        "import stbench; from stbench.run.folder import RunFolder; from stbench import run; assert run is stbench.run",
        "import stbench, stbench.run.reuse; stbench.sample; stbench.load_run",
    ],
)
def test_a_run_is_called_by_the_name_of_its_room_whatever_was_imported_first(code: str) -> None:
    refused = """
try:
    stbench.run(["variant=latte1", "dataset=shaeps"])
except stbench.StbenchError as error:
    assert "did you mean 'shapes'" in str(error), error
else:
    raise AssertionError
"""
    assert imported((), code + refused) == []


def test_no_other_name_is_there() -> None:
    with pytest.raises(AttributeError, match=r"^module 'stbench' has no attribute 'no_such_name'$"):
        _ = stbench.no_such_name
    assert sorted(stbench.__all__) == dir(stbench)


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
