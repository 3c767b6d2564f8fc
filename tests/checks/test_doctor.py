"""What the diagnosis says: one readable line for each thing that is there or missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stbench.checks import doctor
from stbench.errors import StbenchError
from stbench.runtime.attention.backends import BACKENDS

CPU = torch.device("cpu")
TITLES = ["machine", "attention backends", "weights", "optional packages", "configuration folders"]


def test_diagnosis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "choose_device", lambda name: CPU)
    monkeypatch.setattr(doctor, "matmul_ceiling", lambda device, dtype: 123.4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    doctor.print_diagnosis()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == TITLES
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ")}
    assert rows["float32"] == "123 GFLOP/s in a large matrix product"
    assert rows["math"] == rows["sdpa"] == "available"
    assert rows["efficient"] == rows["cudnn"] == "unavailable: needs a CUDA GPU"
    assert rows["attention=auto"].startswith("the fastest that runs of math, sdpa;")
    assert set(BACKENDS) <= set(rows)
    assert err == ""


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ({}, "available"),
        ({torch.float32: "old", torch.bfloat16: "old"}, "unavailable: old"),
        ({torch.float32: "wants half precision"}, "not in float32: wants half precision"),
        ({torch.float32: "a", torch.bfloat16: "b"}, "not in float32: a; not in bfloat16: b"),
    ],
    ids=["there", "nowhere", "in part", "twice"],
)
def test_a_backend_in_one_line(reasons: dict[torch.dtype, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "unavailable_reason", lambda backend, device, dtype: reasons.get(dtype))
    assert dict(doctor._attention(CPU))["flash"] == expected


def test_missing_things_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise StbenchError(f"{name} needs its weights")

    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda package: None)
    monkeypatch.setattr(doctor, "_describe_detector", missing)
    assert dict(doctor._packages())["xformers"] == "missing: pip install 'stbench[xformers]'"
    assert dict(doctor._weights())["i3d"] == "missing: i3d needs its weights"
