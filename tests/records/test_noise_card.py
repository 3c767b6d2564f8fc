"""Reading noise cards: what is none is named. How one is made and used: tests/studies/test_seeds.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.records.noise_card import Noise, NoiseCard, cards_in, read_card


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema": 2}, "expected a noise card of version 1, got version 2"),
        ({"schema": None}, "got version None"),
        ({"runs": "none"}, "runs"),
        ({"extra": 1}, "extra"),
        ({"noise": {"fvd": {"condition": "p", "mean": 1.0, "sd": "wide", "freedom": 9}}}, "noise.fvd.sd"),
    ],
)
def test_what_is_no_card_is_named(tmp_path: Path, changes: dict[str, object], complaint: str) -> None:
    path = tmp_path / "noise_card.json"
    card = NoiseCard(created="2026-01-02T03:04:05Z", training={}, runs=())
    path.write_text(json.dumps(asdict(card) | changes))
    with pytest.raises(StbenchError, match=complaint):
        read_card(path)


def test_a_correlation_that_is_not_shown_is_none() -> None:
    assert Noise(condition="p", mean=1, sd=0.1, freedom=9, correlation=0.3, correlation_low=-0.2).sigma.correlation == 0


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "noise_card.json").write_text("{")
    with pytest.raises(StbenchError, match="cannot read"):
        cards_in(tmp_path)
