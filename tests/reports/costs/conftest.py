"""A profile whose figures are round, as `stbench profile` would find it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stbench.records.costs import (
    BatchSizeSearch,
    Ceilings,
    Profile,
    Scaling,
    Trial,
    Utilisation,
    VariantCost,
)
from stbench.records.sections import Cost, CostConditions, Counts, Energy, Machine, Memory, Software, Timing

MACHINE = Machine(cpu="AMD EPYC", cores=2, threads=2, memory_gib=24, os="Linux", fingerprint="ac36b8a25b6a")


def timing(what: str, median: float) -> Timing:
    return Timing(
        what=what,
        samples=(median, median),
        median=median,
        spread=0.0005,
        batch_size=4,
        clips_per_s=4 / median,
        compile_s=0.25,
    )


def utilisation(gflops_per_s: float, traffic_gb: float | None = None) -> Utilisation:
    return Utilisation(
        model_gflops=8.0,
        gflops_per_s=gflops_per_s,
        mfu_of_measured_ceiling=gflops_per_s / 1000,
        mfu_of_datasheet=gflops_per_s / 2000,
        traffic_gb_estimate=traffic_gb,
        flop_per_byte_estimate=None if traffic_gb is None else 8 / traffic_gb,
    )


COUNTED = VariantCost(
    variant={"name": "latte1", "backbone": "stbench.backbones.latte:Latte", "arguments": {"size": "tiny"}},
    input={"latents": [4, 16, 32, 32], "num_classes": 0},
    status="finished",
    cost=Cost(
        counts=Counts(
            params_total=2_878_784,
            params_trainable=2_863_424,
            gmacs=2.0,
            gflops=4.0,
            gmacs_train_step=5.5,
            gmacs_by_counter={"torch": 2.0, "closed_form": 1.75},
            gmacs_by_part={"embed": 0.5, "blocks.*.mlp": 1.25, "": 0.25},
            conventions={"thop_batch3": 6.125},
            convention_notes=("as the Latte paper counts",),
            incomplete=("fvcore does not know aten::mv",),
        )
    ),
)


@pytest.fixture
def counted() -> Profile:
    """One variant that was only counted."""
    return Profile(variants=(COUNTED,), machine=MACHINE, software=Software(stbench="0.1.0", python="3.11", torch="2.6"))


@pytest.fixture
def measured(counted: Profile, conditions: CostConditions) -> Profile:
    """One variant with everything that a GPU tells."""
    assert COUNTED.cost is not None
    steps = {"forward": 0.01, "train_step": 0.05, "sampling_step": 0.02}
    cost = replace(
        COUNTED.cost,
        conditions=conditions,
        timing={step: timing(step, seconds) for step, seconds in steps.items()},
        memory=Memory(peak_allocated_mib=300.0, peak_reserved_mib=400.0, peak_rss_mib=900.0, peak_rss_source="VmHWM"),
        energy=Energy(train_step_j=12.5, source="NVML total energy of the GPU"),
    )
    variant = replace(
        COUNTED,
        cost=cost,
        utilisation={"forward": utilisation(250.0, traffic_gb=0.5), "train_step": utilisation(500.0)},
        batch_size_search=BatchSizeSearch(
            largest_batch_size=1,
            trials=(
                Trial(batch_size=1, status="fits", peak_mib=110.0),
                Trial(batch_size=2, status="oom", reason="CUDA out of memory."),
            ),
        ),
        scaling=Scaling(
            axis="frames",
            points=(
                {"frames": 8, "gmacs": 1.0, "train_step_s": 0.25, "status": "finished", "reason": None},
                {"frames": 16, "gmacs": 2.0, "train_step_s": 1.0, "status": "finished", "reason": None},
                {"frames": 32, "gmacs": None, "status": "oom", "reason": "CUDA out of memory."},
            ),
            exponents={"gmacs": 1.0, "train_step_s": 2.0, "params_total": None},
            formula="y = c * x^exponent",
        ),
    )
    return replace(
        counted,
        variants=(variant,),
        ceilings=Ceilings(
            device_name="a GPU",
            precision="bfloat16",
            matmul_gflops_per_s={"float32": 500.0, "bfloat16": 1000.0},
            copy_gb_per_s=100.0,
            datasheet_gflops_per_s=2000.0,
            datasheet_gb_per_s=200.0,
            datasheet="its data sheet",
        ),
        clocks={"cpu_mhz": 2400.0, "gpu_sm_mhz": None, "gpu_memory_mhz": None},
    )


@pytest.fixture
def several(measured: Profile) -> Profile:
    """The same beside a variant that failed."""
    failed = VariantCost(
        variant={"name": "odd", "backbone": "m:Odd", "arguments": {}},
        input={"latents": [4, 16, 32, 32]},
        status="failed",
        reason="depth=3 is odd",
    )
    return replace(measured, variants=(*measured.variants, failed))
