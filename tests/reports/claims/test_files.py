"""The files of an outcome of claims."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from stbench.errors import StbenchError
from stbench.records.claim_verdicts import Outcome, read_outcome
from stbench.reports.claims.files import OUTCOME_NAME, write_outcome


def test_an_outcome_comes_back_as_it_was_written(outcome: Outcome, tmp_path: Path) -> None:
    write_outcome(outcome, tmp_path / "claims")
    assert read_outcome(tmp_path / "claims" / OUTCOME_NAME) == outcome
    assert list(pd.read_csv(tmp_path / "claims" / "claims.csv")["claim"]) == ["sees", "A", "B", "C"]
    assert len(pd.read_csv(tmp_path / "claims" / "comparisons.csv")) == 3
    assert (tmp_path / "claims" / "differences-shapes-validation-loss.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [({"version": 9}, "version 9 of an outcome"), ({"arms": 3}, "arms: "), ({"sha256": None}, "sha256: ")],
)
def test_what_is_no_outcome_is_refused(outcome: Outcome, tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / OUTCOME_NAME
    path.write_text(json.dumps({**outcome.to_json(), **change}))  # type: ignore[dict-item]
    with pytest.raises(StbenchError, match=message):
        read_outcome(path)
    with pytest.raises(StbenchError, match="cannot be read"):
        read_outcome(tmp_path / "missing.json")
