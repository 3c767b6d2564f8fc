"""What a verdict shows of itself."""

from __future__ import annotations

from typing import Any

import pytest

from stbench.reports.comparison.verdicts import Verdict


@pytest.mark.parametrize(
    ("base", "new", "ratio"), [(2.0, 3.0, 1.5), (2.0, -1.0, None), (0.0, 1.0, None), ("1 of 2", "2 of 2", None)]
)
def test_a_ratio_is_of_positive_numbers(base: Any, new: Any, ratio: float | None) -> None:
    assert Verdict(metric="FVD", kind="quality", base=base, new=new, verdict="same").ratio == ratio
