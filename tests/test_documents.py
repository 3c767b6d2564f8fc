"""What documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REVIEW = (ROOT / "docs" / "review-2026-11.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", REVIEW)))


@pytest.mark.parametrize(("module", "test"), NAMED)
def test_the_review_names_tests_that_there_are(module: str, test: str) -> None:
    text = (ROOT / module).read_text(encoding="utf-8")
    assert not test or f"def {test}(" in text
