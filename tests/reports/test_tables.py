"""Tables, compared as whole texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stbench.reports import tables
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


@pytest.fixture
def runs(make_run: MakeRun, failed: dict[str, Any]) -> pd.DataFrame:
    """Two finished seeds of latte1, one of latte2, and one that ran out of memory."""
    make_run("latte1", 0, 100.0)
    make_run("latte1", 1, 110.0)
    make_run("latte2", 0, 12345.6)
    run = make_run("latte2", 1, **failed)
    return load_runs([run.parent]).table


def test_markdown_of_runs(runs: pd.DataFrame) -> None:
    shown = tables.display_runs(runs)[["variant", "seed", "status", "FVD[shapes3d]", "GMACs", "forward (ms)"]]
    assert tables.to_markdown(shown) == (
        "| variant   |   seed | status                       |   FVD[shapes3d] |   GMACs |   forward (ms) |\n"
        "|:----------|-------:|:-----------------------------|----------------:|--------:|---------------:|\n"
        "| latte1    |      0 | finished                     |             100 |   1.500 |             10 |\n"
        "| latte1    |      1 | finished                     |             110 |   1.500 |             10 |\n"
        "| latte2    |      0 | finished                     |          12,346 |   1.500 |             10 |\n"
        "| latte2    |      1 | oom: out of memory at step 3 |                 |   1.500 |                |"
    )


def test_markdown_of_variants(runs: pd.DataFrame) -> None:
    variants = tables.variant_table(runs)
    shown = tables.display_variants(variants, tables.quality_columns(runs))
    # Mean 105, sd sqrt(50), half width t(0.975, 1) * sd / sqrt(2) = 12.7062 * 5 = 63.53.
    assert tables.to_markdown(shown[["variant", "seeds", "status", "FVD[shapes3d]"]]) == (
        "| variant   | seeds   | status            |      FVD[shapes3d] |\n"
        "|:----------|:--------|:------------------|-------------------:|\n"
        "| latte1    | 0, 1    | 2 finished        | 105 [41.47, 168.5] |\n"
        "| latte2    | 0, 1    | 1 finished, 1 oom |             12,346 |"
    )


def test_an_inception_score_has_a_column_where_a_run_has_one_and_shares_are_in_the_data(make_run: MakeRun) -> None:
    run = make_run("latte1", 0, **{"quality.inception_score": 60.5, "quality.coverage": 0.75})
    runs = load_runs([run]).table
    assert list(tables.quality_columns(runs).values()) == [
        "FVD[shapes3d]",
        "KVD[shapes3d]",
        "IS[shapes3d]",
    ]
    assert runs.loc[0, "coverage_shapes3d"] == 0.75


def test_csv_of_variants(runs: pd.DataFrame) -> None:
    columns = ["label", "seeds", "forward_ms", "fvd_shapes3d", "fvd_shapes3d_seeds", "protocol_hash"]
    assert tables.to_csv(tables.variant_table(runs)[columns]) == (
        "label,seeds,forward_ms,fvd_shapes3d,fvd_shapes3d_seeds,protocol_hash\n"
        'latte1,"0, 1",10.0,105.0,2,protocol-a\n'
        'latte2,"0, 1",10.0,12345.6,1,protocol-a\n'
    )


def test_seeds_of_two_protocols_are_not_averaged(make_run: MakeRun) -> None:
    make_run("latte1", 0, 100.0)
    run = make_run("latte1", 1, 300.0, **{"quality.protocol_hash": "protocol-b"})
    variants = tables.variant_table(load_runs([run.parent]).table)
    assert variants["fvd_shapes3d"].tolist() == [100, 300]


def test_times_of_two_machines_are_not_averaged(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    run = make_run("latte1", 1, **{"machine.fingerprint": "box-2"})
    row = tables.variant_table(load_runs([run.parent]).table).iloc[0]
    assert row["machines"] == 2
    assert pd.isna(row["forward_ms"]) and pd.isna(row["peak_rss_mib"])
    assert (row["fvd_shapes3d_seeds"], row["gmacs"]) == (2, 1.5)
