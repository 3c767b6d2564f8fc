"""Sizes of one network: equal but for the arguments of size."""

from __future__ import annotations

from typing import Any

import pytest

from stbench.records.families import family_of


def config(**changes: Any) -> dict[str, Any]:
    arguments = {"size": "S", "patch_size": 2, "hidden_size": 64} | changes.pop("arguments", {})
    return {
        "variant": {"name": "latte1", "backbone": "a:B", "arguments": arguments},
        "dataset": {"name": "shapes", "arguments": {"root": "/data"}},
        "train": {"steps": 10},
        "seed": 0,
    } | changes


@pytest.mark.parametrize(
    "same",
    [
        {"seed": 5},
        {"arguments": {"size": "XL"}},
        {"arguments": {"hidden_size": 128, "depth": 8}},
        {"variant": {"name": "latte1", "backbone": "a:B", "arguments": {"patch_size": 2}}},
        {"dataset": {"name": "shapes", "arguments": {"root": "/elsewhere"}}},
    ],
)
def test_sizes_are_one_family(same: dict[str, Any]) -> None:
    assert family_of(config(**same)) == family_of(config())


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {"patch_size": 4}},
        {"train": {"steps": 20}},
        {"dataset": {"name": "clouds", "arguments": {"root": "/data"}}},
        {"variant": {"name": "latte1", "backbone": "a:C", "arguments": {"patch_size": 2}}},
        {"variant": {"name": "latte2", "backbone": "a:B", "arguments": {"patch_size": 2}}},
    ],
)
def test_all_else_makes_another(other: dict[str, Any]) -> None:
    assert family_of(config(**other)) != family_of(config())
