"""A finished smoke run, made once for all tests of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from stbench.run.stages import run
from stbench.settings.resolve import resolve

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]


@pytest.fixture(scope="session")
def smoke() -> list[str]:
    """Words of the smallest run, but for its variant."""
    return list(SMOKE)


@pytest.fixture(scope="session")
def judged() -> list[str]:
    """Words of a smoke run with clips enough for an FVD, and points of it over training by a cheaper protocol."""
    return ["variant=latte1", *SMOKE, "eval.num_clips=80", "eval.every=6", "eval.curve_clips=70"]


@pytest.fixture(scope="session")
def finished(judged: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of `judged`."""
    return run(resolve(judged), tmp_path_factory.mktemp("runs"))
