"""What is going to be judged is written down once, and before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.launch.registration import Registration, register
from stbench.records.claims import load_claims


def test_a_registration_stays_until_something_is_changed(tmp_path: Path) -> None:
    claims = load_claims("latte")
    first = register(claims, "demo", ["device=cpu"], tmp_path)
    assert (first.sha256, first.scale, first.words) == (claims.sha256, "demo", ("device=cpu",))
    (tmp_path / "registered.json").write_text(
        (tmp_path / "registered.json").read_text().replace(first.time, "2026-01-02T03:04:05+00:00")
    )
    again = register(claims, "demo", ["device=cpu"], tmp_path)
    assert again == replace(first, time="2026-01-02T03:04:05+00:00")
    for changed in (
        register(replace(claims, sha256="other"), "demo", ["device=cpu"], tmp_path),
        register(claims, "small", ["device=cpu"], tmp_path),
        register(claims, "demo", [], tmp_path),
    ):
        assert changed.time > again.time
    assert register(claims, "demo", ["device=cpu"], tmp_path) == again


def test_whether_a_record_is_younger() -> None:
    registered = Registration("x", "demo", (), "2026-01-02T03:04:05+00:00")
    assert registered.precedes("2026-01-02T03:04:06Z")
    assert not registered.precedes("2026-01-02T03:04:04Z")


def test_what_is_no_registration_is_named(tmp_path: Path) -> None:
    (tmp_path / "registered.json").write_text("[{}]")
    with pytest.raises(StbenchError, match=r"registered\.json: no registrations of claims"):
        register(load_claims("latte"), "demo", [], tmp_path)
