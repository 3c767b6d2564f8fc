"""What the diagnosis says, compared as a whole: one readable line for each thing that is there or missing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stbench.checks import doctor
from stbench.errors import StbenchError
from stbench.paths import CONFIG_DIR_VARIABLE
from stbench.records.sections import Machine, Software
from stbench.runtime.attention.backends import BACKENDS
from stbench.runtime.device import PRECISIONS

CPU = torch.device("cpu")
MACHINE = Machine(cpu="Test CPU", cores=2, threads=4, memory_gib=8, os="Linux", fingerprint="0123456789ab")
SOFTWARE = Software(stbench="0.1.0", python="3.11.7", torch="2.13.0+cpu")
DIAGNOSIS = """\
machine
  device          cpu: Test CPU
  processor       Test CPU, 2 cores, 8 GiB
  software        python 3.11.7, torch 2.13.0+cpu, stbench 0.1.0
  float32         123 GFLOP/s in a large matrix product
  bfloat16        46 GFLOP/s in a large matrix product
  precision=auto  float32

attention backends
  math            available
  sdpa            available
  flash           not in float32: wants half precision
  efficient       unavailable: needs a CUDA GPU
  cudnn           unavailable: needs a CUDA GPU
  xformers        available
  flex            available
  attention=auto  the fastest that runs of math, sdpa; timed at the first call of each shape

weights
  shapes3d  found, sha256 aaaaaaaaaaaa
  i3d       missing: i3d: weights not found; get them
  sd-vae    found, 4 channels, 1/8 per side
  taesd     missing: autoencoder.name=taesd needs its weights

optional packages
  diffusers     installed
  transformers  missing: pip install 'stbench[videomae]'
  pynvml        missing: pip install 'stbench[nvml]'
  xformers      installed
  accelerate    missing: pip install 'stbench[track]'

configuration folders
  variants  HERE/mine/variants, HERE/variants
  datasets  HERE/datasets

"""


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of these tests: what it is, what it has, and what it lacks."""
    reasons = {
        ("flash", torch.float32): "wants half precision",
        **{(name, dtype): "needs a CUDA GPU" for name in ("efficient", "cudnn") for dtype in PRECISIONS.values()},
    }
    speeds = {torch.float32: 123.4, torch.bfloat16: 45.6}
    detectors = {"shapes3d": SimpleNamespace(weights_sha256="a" * 64)}
    autoencoders = {"sd-vae": SimpleNamespace(channels=4, downsampling=8)}

    def build_detector(name: str) -> Any:
        if name not in detectors:
            raise StbenchError(f"{name}: weights not found; get them")
        return detectors[name]

    def build_autoencoder(name: str) -> Any:
        if name not in autoencoders:
            raise StbenchError(f"autoencoder.name={name} needs its weights")
        return autoencoders[name]

    monkeypatch.setattr(doctor, "choose_device", lambda name: CPU)
    monkeypatch.setattr(doctor, "describe_machine", lambda: MACHINE)
    monkeypatch.setattr(doctor, "software_versions", lambda: SOFTWARE)
    monkeypatch.setattr(doctor, "fast_bfloat16", lambda device: False)
    monkeypatch.setattr(doctor, "matmul_ceiling", lambda device, dtype: speeds[dtype])
    monkeypatch.setattr(doctor, "WaitedShare", lambda: contextlib.nullcontext(SimpleNamespace(value=0.0)))
    monkeypatch.setattr(doctor, "unavailable_reason", lambda name, device, dtype: reasons.get((name, dtype)))
    monkeypatch.setattr(doctor, "candidates", lambda device: ["math", "sdpa"])
    monkeypatch.setattr(doctor, "DETECTORS", {"shapes3d": None, "i3d": None})
    monkeypatch.setattr(doctor, "build_detector", build_detector)
    monkeypatch.setattr(doctor, "build_autoencoder", build_autoencoder)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: name in ("diffusers", "xformers") or None)
    monkeypatch.setattr(doctor.paths, "builtin_config_root", lambda: tmp_path)
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path / "mine"))
    for folder in ("variants", "datasets", "mine/variants"):
        (tmp_path / folder).mkdir(parents=True)


@pytest.mark.usefixtures("facts")
def test_the_whole_diagnosis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.print_diagnosis()
    out, err = capsys.readouterr()
    assert out.replace(str(tmp_path), "HERE") == DIAGNOSIS
    assert err == ""


@pytest.mark.usefixtures("facts")
def test_speeds_of_a_busy_machine_are_said_to_be_too_low(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "WaitedShare", lambda: contextlib.nullcontext(SimpleNamespace(value=0.5)))
    doctor.print_diagnosis()
    line = "too low, the machine is busy: threads stood 50 % of their time waiting for a processor"
    assert capsys.readouterr().out.splitlines()[6].strip() == line


@pytest.mark.usefixtures("facts")
def test_a_gpu_is_named_and_makes_bfloat16_the_choice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = Machine(cpu="Test CPU", cores=2, threads=4, memory_gib=8, gpu="Test GPU", os="Linux", fingerprint="0" * 12)
    monkeypatch.setattr(doctor, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(doctor, "describe_machine", lambda: gpu)
    monkeypatch.setattr(doctor, "fast_bfloat16", lambda device: True)
    doctor.print_diagnosis()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["  device          cuda: Test GPU", "  processor       Test CPU, 2 cores, 8 GiB"]
    assert lines[6] == "  precision=auto  bfloat16"


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
    rows = dict(doctor._attention(CPU))
    assert rows.pop("attention=auto") == "the fastest that runs of math, sdpa; timed at the first call of each shape"
    assert rows == dict.fromkeys(BACKENDS, expected)


def test_this_machine_without_anything_to_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing fabricated but the speed: every part of the diagnosis can be made."""
    monkeypatch.setattr(doctor, "choose_device", lambda name: CPU)
    monkeypatch.setattr(doctor, "matmul_ceiling", lambda device, dtype: 123.4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    doctor.print_diagnosis()
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert titles == [line for line in DIAGNOSIS.splitlines() if line and not line.startswith(" ")]
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ")}
    assert rows["math"] == rows["sdpa"] == "available"
    assert rows["efficient"] == rows["cudnn"] == "unavailable: needs a CUDA GPU"
    assert rows["shapes3d"].startswith("found, sha256 ")
    assert {"sd-vae", "taesd", "i3d", "videomae", "c3d", "inception"} <= set(rows)
    assert "pixels" not in rows
