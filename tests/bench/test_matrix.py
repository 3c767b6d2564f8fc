"""Which variants are profiled under which backends, and what a combination that cannot run leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stbench import paths
from stbench.bench import matrix
from stbench.bench.matrix import BATCH_SIZE, LATENTS, PRESET, measure_matrix
from stbench.errors import StbenchError
from stbench.records.costs import Profile, VariantCost
from stbench.records.sections import Machine, Software
from stbench.runtime.attention.backends import AUTO, BACKENDS
from stbench.settings.options import ProfileOptions

VARIANTS = list(paths.config_files("variants"))
MACHINE = Machine(cpu="AMD EPYC", cores=2, threads=2, memory_gib=24, os="Linux", fingerprint="ac36b8a25b6a")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, str], ProfileOptions]]:
    """What was profiled; attention=flex cannot run."""
    calls = []

    def profile(words: list[str], options: ProfileOptions) -> Profile:
        given = dict(word.split("=") for word in words)
        calls.append((given, options))
        if given["attention"] == "flex":
            raise StbenchError("attention=flex: needs a compiler")
        variants: list[dict[str, Any]] = [{"name": name} for name in given["variant"].split(",")]
        return Profile(
            variants=tuple(VariantCost(variant=each, input={}, status="finished") for each in variants),
            machine=MACHINE,
            software=Software(stbench="0.1.0", python="3.11", torch="2.6"),
        )

    monkeypatch.setattr(matrix, "profile_variants", profile)
    return calls


def test_on_a_cpu_all_variants_take_turns(
    asked: list[tuple[dict[str, str], ProfileOptions]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    measured = measure_matrix()
    assert [(given["attention"], given["compile"]) for given, _ in asked] == [
        (AUTO, "off"),
        (AUTO, "default"),
        *((backend, "off") for backend in BACKENDS),
    ]
    assert {given["variant"] for given, _ in asked} == {",".join(VARIANTS)}
    assert {given["preset"] for given, _ in asked} == {PRESET["cpu"]}
    assert {options for _, options in asked} == {ProfileOptions(batch_size=BATCH_SIZE, latents=LATENTS["cpu"])}
    assert (measured["latents"], measured["preset"], measured["batch_size"]) == ("4x8x16x16", "demo", BATCH_SIZE)
    finished = [row for row in measured["rows"] if row["attention"] != "flex"]
    assert [row["variant"] for row in finished] == VARIANTS * (len(asked) - 1)
    assert [row for row in measured["rows"] if row["attention"] == "flex"] == [
        {
            "attention": "flex",
            "compile": "off",
            "variant": ",".join(VARIANTS),
            "status": "failed",
            "reason": "attention=flex: needs a compiler",
        }
    ]


def test_on_a_gpu_variants_are_measured_alone_and_everything_is_compiled_too(
    asked: list[tuple[dict[str, str], ProfileOptions]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    measured = measure_matrix()
    backends = len(BACKENDS) + 1
    assert [given["variant"] for given, _ in asked] == VARIANTS * 2 * backends
    assert {given["compile"] for given, _ in asked} == {"off", "default"}
    assert len(measured["rows"]) == len(VARIANTS) * 2 * backends
    assert measured["preset"] == "paper"
