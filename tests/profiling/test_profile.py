"""The cost profile: counts against closed forms of the executed computation, and the record's sections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.backbones.latte import Latte
from stbench.profiling import profile
from stbench.profiling.counts import count
from stbench.profiling.profile import measure_costs
from stbench.profiling.workbench import Conditions, Subject
from stbench.profiling.workload import Workload
from stbench.records.sections import Cost, CostConditions, Energy
from stbench.runtime.device import Runtime
from stbench.runtime.failure import Failure
from stbench.runtime.machine import describe_machine

RUNTIME = Runtime(torch.device("cpu"), "float32", "math")
TINY: dict[str, Any] = {"hidden_size": 16, "depth": 2, "num_heads": 2, "sample_size": 8, "num_frames": 4}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples: no time is asserted."""
    monkeypatch.setattr(profile, "MIN_SAMPLES", 2)
    monkeypatch.setattr(profile, "MAX_SECONDS", 0.0)


def executed_macs(depth: int, d: int, F: int, N: int, patch: int, C: int, arrangement: str = "interleaved") -> int:
    """Variant 1 at batch 1 with every modulation evaluated once per clip."""
    tokens = F * N
    linear = 12 * d * d * tokens + 6 * d * d  # qkv, proj, MLP; modulation
    attention = tokens * 2 * d * (N + F) // 2  # half of the blocks over N tokens, half over F
    ends = tokens * d * patch**2 * C * 3 + 2 * d * d + 256 * d + d * d  # patches in, noise and variance out; t
    return depth * (linear + attention) + ends


@pytest.mark.parametrize(
    ("size", "depth", "d", "patch"), [("S", 12, 384, 2), ("B", 12, 768, 4), ("XL", 28, 1152, 2)], ids=str
)
def test_counts_of_published_sizes(size: str, depth: int, d: int, patch: int) -> None:
    counts = count(lambda: Latte(size=size, patch_size=patch), Workload((4, 16, 32, 32)), with_fvcore=False)
    expected = executed_macs(depth, d, 16, (32 // patch) ** 2, patch, 4)
    assert counts.gmacs * 1e9 == expected
    assert counts.gmacs_by_counter == {"torch": expected / 1e9, "closed_form": expected / 1e9}
    assert counts.gflops == 2 * counts.gmacs
    assert sum(counts.gmacs_by_module.values()) == pytest.approx(counts.gmacs)
    assert counts.incomplete == ()


def test_lean_modulation_saves_what_the_authors_copies_cost() -> None:
    """XL/2 executes 30.36 G of modulation in the authors' code; once per clip it is 0.23 G: 1892.964 -> 1862.825."""
    counts = count(lambda: Latte(size="XL"), Workload((4, 16, 32, 32)))
    d, F, N = 1152, 16, 256
    copies = 14 * (F + N) * 6 * d * d + F * 2 * d * d
    once = 28 * 6 * d * d + 2 * d * d
    assert counts.gmacs + (copies - once) / 1e9 == pytest.approx(1892.963893, abs=1e-6)


def test_sections_of_the_record() -> None:
    workload = Workload((4, 4, 8, 8), num_classes=3, joint_images=2)
    subject = Subject(lambda: Latte(**TINY, num_classes=3), workload)
    [cost] = measure_costs([subject], Conditions(RUNTIME, "ddpm", batch_size=2))
    assert isinstance(cost, Cost)
    assert set(cost.timing) == {"forward", "train_step", "sampling_step"}
    for name, timing in cost.timing.items():
        assert timing.what == name
        assert timing.batch_size == 2
        assert timing.clips_per_s == 2 / timing.median
        assert min(timing.samples) > 0
    assert cost.memory is not None
    assert cost.memory.peak_rss_mib == cost.memory.peak_mib
    assert cost.memory.peak_mib is not None and cost.memory.peak_mib > 0
    assert cost.memory.peak_allocated_mib is None
    assert cost.energy == Energy(train_step_j=None, source=None)  # a CPU does not tell


def test_a_cost_says_what_it_was_measured_under() -> None:
    subject = Subject(lambda: Latte(**TINY, num_classes=3), Workload((4, 4, 8, 8), num_classes=3, joint_images=2))
    [cost] = measure_costs([subject], Conditions(RUNTIME, "ddpm", batch_size=2))
    assert isinstance(cost, Cost) and cost.conditions is not None
    assert replace(cost.conditions, load_average=None) == CostConditions(
        machine=describe_machine().fingerprint,
        torch=torch.__version__,
        device="cpu",
        threads=torch.get_num_threads(),
        precision="float32",
        attention="math",
        compile="off",
        freed_memory="returned",
        objective="ddpm",
        latents=(4, 4, 8, 8),
        batch_size=2,
        joint_images=2,
    )


def test_text_conditioned_networks_are_profiled() -> None:
    counts = count(lambda: Latte(**TINY, text_dim=12), Workload((4, 4, 8, 8), context_shape=(12,)))
    without = count(lambda: Latte(**TINY), Workload((4, 4, 8, 8)))
    assert (counts.gmacs - without.gmacs) * 1e9 == pytest.approx(12 * 16)


WORKLOAD = Workload((4, 4, 8, 8))
CONDITIONS = Conditions(RUNTIME, "ddpm", batch_size=1)


class Hungry(Latte):
    """A network that does not fit into memory where it is really run."""

    def forward(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        if not noisy_latents.is_meta and self.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(noisy_latents, timesteps, conditioning)


def test_a_failure_costs_the_others_nothing() -> None:
    subjects = [
        Subject(lambda: Latte(**TINY), WORKLOAD),
        Subject(lambda: Latte(**{**TINY, "depth": 3}), WORKLOAD),
        Subject(lambda: Hungry(**TINY), WORKLOAD),
        Subject(lambda: Latte(**TINY, arrangement="parallel"), WORKLOAD),
    ]
    good, odd, hungry, fine = measure_costs(subjects, CONDITIONS)
    for cost in (good, fine):
        assert isinstance(cost, Cost)
        assert set(cost.timing) == {"forward", "train_step", "sampling_step"}
        assert cost.memory is not None
    assert isinstance(odd, Failure)
    assert odd.status == "failed"
    assert hungry == Failure("oom", "CUDA out of memory. Tried to allocate 2.00 GiB", Exception())


def test_nothing_is_measured_of_nothing() -> None:
    assert measure_costs([], CONDITIONS) == []


def test_a_backbone_that_is_left_alone_is_not_built_again() -> None:
    """One is kept on the device between the timing and the memory; several would be in each other's way."""
    built: list[bool] = []

    def construct() -> Latte:
        built.append(torch.get_default_device().type == "meta")
        return Latte(**TINY)

    subject = Subject(construct, WORKLOAD)
    measure_costs([subject], CONDITIONS)
    once = built.count(False)
    built.clear()
    measure_costs([subject, Subject(lambda: Latte(**{**TINY, "depth": 3}), WORKLOAD)], CONDITIONS)
    assert built.count(False) == once
    built.clear()
    measure_costs([subject, subject], CONDITIONS)
    assert built.count(False) == 2 * once + 2
