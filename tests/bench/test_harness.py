"""What is compared when the overhead of stbench is measured, at a size that takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from stbench.bench import harness
from stbench.bench.harness import measure_overheads
from stbench.records.sections import Timing
from stbench.runtime.timing import Work, timing_of

SMOKE = ("variant=latte1", "dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "TRAINING", (*SMOKE, "train.steps=2", "eval.every=0", "eval.validation_clips=0"))
    monkeypatch.setattr(harness, "SAMPLING", (*SMOKE, "eval.num_sampling_steps=3", "eval.cfg_scale=4"))
    monkeypatch.setattr(harness, "SAMPLED_CLIPS", 2)
    monkeypatch.setattr(harness, "SAMPLING_STEPS", 3)


def test_both_sides_evaluate_the_network_as_often(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs between the sides must be stbench, not the work."""
    evaluations: dict[str, list[tuple[int, bool]]] = {}
    samples: list[int] = []

    def once(works: Mapping[str, Work], device: torch.device, *, min_samples: int, **_: Any) -> dict[str, Timing]:
        samples.append(min_samples)
        what = "training" if "training" not in {name.split()[0] for name in evaluations} else "sampling"
        for name, work in works.items():
            calls = evaluations.setdefault(f"{what} {name}", [])

            def note(module: torch.nn.Module, inputs: Any, output: Any, calls: list[Any] = calls) -> None:
                if type(module).__name__ == "Latte":
                    calls.append((len(inputs[0]), module.training))

            hook = torch.nn.modules.module.register_module_forward_hook(note)
            work()
            hook.remove()
        return {name: timing_of(name, [2.0 if name == "bare" else 3.0], batch_size=1) for name in works}

    monkeypatch.setattr(harness, "measure_interleaved", once)
    monkeypatch.setattr(harness, "measure", lambda work, device, **_: timing_of("help", [0.5], batch_size=1))
    measured = measure_overheads(min_samples=5)
    assert evaluations["training stbench"] == evaluations["training bare"]
    assert len(evaluations["training bare"]) == 2
    assert evaluations["sampling stbench"] == evaluations["sampling bare"] == [(4, False)] * 3
    assert samples == [5, 20]
    assert measured["help_s"] == 0.5
    for part in ("training", "sampling"):
        assert measured[part]["overhead"] == 0.5
        assert (measured[part]["stbench_s"], measured[part]["bare_s"]) == (3.0, 2.0)
        assert measured[part]["stbench_samples"] == (3.0,)
