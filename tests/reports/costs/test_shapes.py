"""Shapes of a network's blocks on the terminal, beside the claims that state them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stbench.records.costs import Profile, VariantCost
from stbench.reports.costs.shapes import print_shapes

CLAIMS = """
title: T
sources: {notes: "notes that say 6 where it is 4"}
arms: {net: variant=net, other: variant=net variant.dim=8}
scales: {counts: {about: counts}}
claims:
  - {id: S, statement: S., source: [notes], arms: [net], relation: shapes, shapes: {down: 4->8 6x8, up: 6->2 6x8}}
  - {id: T, statement: T., source: [notes], arms: [other], relation: shapes, shapes: {down: 4->9 6x8}}
"""


@pytest.fixture
def shaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Profile) -> VariantCost:
    """A variant whose shapes one claim states, with one of them wrong."""
    (tmp_path / "mine.yaml").write_text(CLAIMS)
    monkeypatch.setattr("stbench.paths.config_files", lambda kind: {"mine": tmp_path / "mine.yaml"})
    [variant] = counted.variants
    shapes = {"down": "4->8 6x8", "middle": "8->8 3x4", "up": "4->2 6x8"}
    return replace(variant, variant={"name": "net"}, input={"latents": [4, 2, 6, 8]}, shapes=shapes)


def test_they_stand_beside_what_a_claim_says(shaped: VariantCost, capsys: pytest.CaptureFixture[str]) -> None:
    print_shapes(shaped)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "",
        "block   channels, size  mine, S",
        "down    4->8 6x8        4->8 6x8",
        "middle  8->8 3x4",
        "up      4->2 6x8        6->2 6x8 (differs)",
        "mine, S differs at up; its source: notes that say 6 where it is 4",
    ]


def test_at_another_size_the_claim_only_says_its_own(shaped: VariantCost, capsys: pytest.CaptureFixture[str]) -> None:
    print_shapes(replace(shaped, input={"latents": [4, 2, 8, 8]}, shapes={"down": "4->8 8x8"}))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == ["block  channels, size", "down   4->8 8x8", "mine, S states shapes of latents of 6x8"]


def test_no_claim_is_needed(shaped: VariantCost, capsys: pytest.CaptureFixture[str]) -> None:
    print_shapes(replace(shaped, variant={"name": "unknown"}))
    assert len(capsys.readouterr().out.splitlines()) == 5
