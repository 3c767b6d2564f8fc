"""The command of the bench: which parts it measures, what it keeps of an earlier time, and how it names a machine."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from stbench.bench import __main__ as bench
from stbench.bench.__main__ import Part, machine_name, main
from stbench.errors import StbenchError
from stbench.records.sections import Machine

MACHINE = Machine(gpu=None, cpu="AMD EPYC", cores=2, memory_gib=24, fingerprint="ac36b8a25b6a", threads=2, os="Linux")
NAME = "amd-epyc-2-cores-ac36b8a25b6a"
MATRIX = {"latents": "4x8x16x16", "preset": "demo", "batch_size": 4, "rows": []}
HELP = {"stbench_s": 1.02, "bare_s": 1.0, "overhead": 0.02}


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "describe_machine", lambda: MACHINE)
    harness = {"training": {**HELP, "steps": 1}, "sampling": {**HELP, "clips": 1, "steps": 1}, "help_s": 0.06}
    monkeypatch.setattr(bench, "MEASURE", {Part.matrix: lambda: MATRIX, Part.harness: lambda: harness})


def test_parts_that_are_not_asked_for_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / NAME / "bench"
    main(tmp_path, [Part.matrix])
    first = json.loads((folder / "bench.json").read_text())
    assert list(first) == ["machine", "matrix"]
    assert first["machine"] == asdict(MACHINE)
    assert {name: first["matrix"][name] for name in MATRIX} == MATRIX
    main(tmp_path, [Part.harness])
    second = json.loads((folder / "bench.json").read_text())
    assert list(second) == ["machine", "matrix", "harness"]
    assert second["matrix"] == first["matrix"]
    assert second["harness"]["software"] == first["matrix"]["software"]
    assert capsys.readouterr().out == f"{folder / 'bench.md'}\n" * 2


def test_the_machine_is_described_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(tmp_path, [Part.matrix])
    monkeypatch.setattr(bench, "describe_machine", lambda: replace(MACHINE, threads=1))
    main(tmp_path, [Part.harness])
    kept = json.loads((tmp_path / NAME / "bench" / "bench.json").read_text())
    assert (kept["machine"]["threads"], list(kept)) == (1, ["machine", "matrix", "harness"])


def test_figures_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / NAME / "bench" / "bench.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"machine": {**asdict(MACHINE), "fingerprint": "0123456789ab"}, "matrix": MATRIX}))
    with pytest.raises(StbenchError) as raised:
        main(tmp_path, [Part.harness])
    assert str(raised.value) == f"{path} was measured on another machine (0123456789ab)"
    assert list(json.loads(path.read_text())) == ["machine", "matrix"]


def test_what_was_measured_is_not_lost_with_what_fails_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MemoryError("too large")

    monkeypatch.setitem(bench.MEASURE, Part.harness, fail)
    with pytest.raises(MemoryError, match="too large"):
        main(tmp_path, [Part.matrix, Part.harness])
    assert list(json.loads((tmp_path / NAME / "bench" / "bench.json").read_text())) == ["machine", "matrix"]


def test_machine_name() -> None:
    assert machine_name(MACHINE) == NAME
    on_gpu = replace(MACHINE, gpu="NVIDIA H100 80GB HBM3")
    assert machine_name(on_gpu) == "nvidia-h100-80gb-hbm3-2-cores-ac36b8a25b6a"
