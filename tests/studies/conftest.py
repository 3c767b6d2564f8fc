"""One small study, made once for all tests that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stbench.settings.options import NoiseOptions
from stbench.studies import bias
from stbench.studies.noise import prepare, study_noise

WORDS = ["dataset.image_size=16", "dataset.num_frames=8", "device=cpu"]
NUM = 72  # more than the detector has features, and no multiple of a group


@pytest.fixture(scope="session")
def options() -> NoiseOptions:
    return NoiseOptions(num=NUM, dim=0)


@pytest.fixture(scope="session")
def study_folder(options: NoiseOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "noise"
    study_noise(WORDS, options, folder)
    return folder


@pytest.fixture(scope="session")
def few_clips() -> dict[str, Any]:
    """A study with fewer clips than features."""
    return prepare(WORDS, NoiseOptions(num=40, dim=0)).run()


@pytest.fixture
def few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bias, "REPEATS", 2)
