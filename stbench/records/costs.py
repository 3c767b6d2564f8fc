"""What variants cost, as `stbench profile` leaves it: read as rows."""

from __future__ import annotations

from typing import Any


def variants_of(costs: dict[str, Any]) -> list[dict[str, Any]]:
    """The sections of each variant in a profile of one or of several."""
    return costs.get("variants", [costs])


def cost_row(sections: dict[str, Any]) -> dict[str, Any]:
    """One variant's figures as a flat row; names carry units, None is what was not measured."""
    counts, memory, timing = (sections.get(name) or {} for name in ("counts", "memory", "timing"))
    training = (sections.get("utilisation") or {}).get("train_step") or {}
    params, on_device = counts.get("params_total"), memory.get("peak_allocated_mib")
    return {
        "variant": sections["variant"]["name"],
        "status": sections["status"],
        "reason": sections["reason"],
        "params_m": None if params is None else params / 1e6,
        "gmacs": counts.get("gmacs"),
        "gmacs_train_step": counts.get("gmacs_train_step"),
        **{f"{step}_ms": 1e3 * each["median"] for step, each in timing.items()},
        **{f"{step}_compile_s": each["compile_s"] for step, each in timing.items()},
        "train_clips_per_s": timing.get("train_step", {}).get("clips_per_s"),
        "peak_mib": memory.get("peak_rss_mib") if on_device is None else on_device,
        "mfu_of_measured_ceiling": training.get("mfu_of_measured_ceiling"),
        "mfu_of_datasheet": training.get("mfu_of_datasheet"),
        "train_step_j": (sections.get("energy") or {}).get("train_step_j"),
        "largest_batch_size": (sections.get("batch_size_search") or {}).get("largest_batch_size"),
    }
