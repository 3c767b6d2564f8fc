"""Fixtures that every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """A few real videos kept beside the checkout; tests that need them skip where they are missing."""
    clips = REPOSITORY.parent / "shared" / "clips"
    if not clips.is_dir():
        pytest.skip(f"the sample videos are not here: {clips}")
    return clips
