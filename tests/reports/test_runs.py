"""Labels that tell runs apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.reports.runs import flatten, load_study

MakeRun = Callable[..., Path]


def test_seeds_share_a_label_and_a_colour(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    run = make_run("latte1", 1)
    study = load_study([run.parent])
    assert study.table["label"].tolist() == ["latte1", "latte1"]
    assert list(study.colours) == ["latte1"]


def test_label_names_what_differs_within_a_variant(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    make_run("latte1", 1, **{"config.variant.arguments.size": "XL", "config.dataset.arguments.image_size": 32})
    run = make_run("latte2", 0)
    assert load_study([run.parent]).table["label"].tolist() == [
        "latte1 dataset.image_size=16 size=S",
        "latte1 dataset.image_size=32 size=XL",
        "latte2",
    ]


def test_another_dataset_is_named_without_its_arguments(make_run: MakeRun) -> None:
    make_run("latte1", 0)
    run = make_run("latte1", 0, **{"config.dataset.name": "sky", "config.dataset.arguments.image_size": 32})
    assert load_study([run.parent]).table["label"].tolist() == ["latte1 dataset=shapes", "latte1 dataset=sky"]


def test_nothing_to_report_is_an_error() -> None:
    with pytest.raises(StbenchError, match="no run to report"):
        load_study([])


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
