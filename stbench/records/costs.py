"""What variants cost, as `stbench profile` finds it and writes it as costs.json. Imports no torch.

Names carry their unit. A `None` is a figure that was not measured, or does not exist where it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stbench.records.sections import Cost, Machine, Software


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What a device does at most: measured beside the networks, and as its data sheet promises."""

    device_name: str  # the GPU's, or "cpu"
    precision: str  # of the networks' products
    matmul_gflops_per_s: dict[str, float]  # of a large matrix product, by precision
    copy_gb_per_s: float  # of copying memory, bytes read and written
    datasheet_gflops_per_s: float | None = None  # in `precision`
    datasheet_gb_per_s: float | None = None
    datasheet: str  # its name, or why there is none
    waited_share: float | None = None  # as a `Timing` has it: under load, measured speeds are too low


@dataclass(frozen=True, kw_only=True)
class Utilisation:
    """How far one step is from what its device can do."""

    model_gflops: float  # of the batch
    gflops_per_s: float
    mfu_of_measured_ceiling: float
    mfu_of_datasheet: float | None = None
    traffic_gb_estimate: float | None = None  # of the forward pass alone, as the next one
    flop_per_byte_estimate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One batch size that was tried."""

    batch_size: int
    status: str  # "fits"; "oom"; or "refused", on a CPU, where the kernel would end the process instead of telling it
    peak_mib: float | None = None  # of a step that fits
    reason: str | None = None  # why it does not fit


@dataclass(frozen=True, kw_only=True)
class BatchSizeSearch:
    """Every batch size that was tried, in rising order."""

    largest_batch_size: int | None  # that fits; None when not even one clip does
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Costs of one variant at several sizes. Operations are those of the batch.

    A point holds the size under the name of the axis, its costs under names with units, `status` and `reason`.
    """

    axis: str
    points: tuple[dict[str, Any], ...]
    exponents: dict[str, float | None]  # that each cost grows with; None for too few points
    formula: str


@dataclass(frozen=True, kw_only=True)
class VariantCost:
    """One variant of a profile. One that failed has nothing but its status and the reason."""

    variant: dict[str, Any]  # name, backbone, arguments
    input: dict[str, Any]  # latents, and the facts of a run that it was built for
    status: str  # "finished", "failed" or "oom"
    reason: str | None = None
    cost: Cost | None = None
    utilisation: dict[str, Utilisation] | None = None  # by step
    batch_size_search: BatchSizeSearch | None = None
    scaling: Scaling | None = None
    shapes: dict[str, str] | None = None  # "C->C' HxW" by block

    def to_json(self) -> dict[str, Any]:
        """The sections as costs.json holds them: those of the cost among the others, and only what was asked for."""
        asked = {name: value for name, value in asdict(self).items() if value is not None or name == "reason"}
        # A variant that was only counted has empty sections of what was not measured.
        cost = {name: {} if section is None else section for name, section in asked.pop("cost", {}).items()}
        about = {name: asked.pop(name) for name in ("variant", "input", "status", "reason")}
        for step in asked.get("utilisation", {}).values():
            for name in ("traffic_gb_estimate", "flop_per_byte_estimate"):
                if step[name] is None:
                    del step[name]
        return {**about, **cost, **asked}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What `stbench profile` found; each variant's cost says what it was measured under."""

    variants: tuple[VariantCost, ...] = ()
    ceilings: Ceilings | None = None
    clocks: dict[str, float | None] = field(default_factory=dict)
    machine: Machine
    software: Software

    def to_json(self) -> dict[str, Any]:
        """The content of costs.json: the sections of one variant, or those of several in `variants`, and the rest."""
        variants = [each.to_json() for each in self.variants]
        shared = {name: value for name, value in asdict(self).items() if name != "variants" and value not in (None, {})}
        return {**(variants[0] if len(variants) == 1 else {"variants": variants}), **shared}


def largest_parts(gmacs_by_part: Mapping[str, float]) -> dict[str, float]:
    """The operations of each part of a network, the largest first; those in no part of it have a name for people."""
    ordered = sorted(gmacs_by_part.items(), key=lambda part: -part[1])
    return {name or "(outside its parts)": gmacs for name, gmacs in ordered}


def cost_row(of: VariantCost) -> dict[str, Any]:
    """One variant's figures as a flat row; names carry units, None is what was not measured."""
    counts, memory = of.cost and of.cost.counts, of.cost and of.cost.memory
    timing = of.cost.timing if of.cost else {}
    training = (of.utilisation or {}).get("train_step")
    return {
        "variant": of.variant["name"],
        "status": of.status,
        "reason": of.reason,
        "params_m": counts and counts.params_total / 1e6,
        "gmacs": counts and counts.gmacs,
        "gmacs_train_step": counts and counts.gmacs_train_step,
        **{f"{step}_ms": 1e3 * each.median for step, each in timing.items()},
        **{f"{step}_compile_s": each.compile_s for step, each in timing.items()},
        "train_clips_per_s": timing["train_step"].clips_per_s if "train_step" in timing else None,
        "peak_mib": memory and memory.peak_mib,
        "mfu_of_measured_ceiling": training and training.mfu_of_measured_ceiling,
        "mfu_of_datasheet": training and training.mfu_of_datasheet,
        "train_step_j": of.cost.energy.train_step_j if of.cost and of.cost.energy else None,
        "largest_batch_size": of.batch_size_search and of.batch_size_search.largest_batch_size,
    }
