"""`stbench profile`: the cost of a variant by itself, without training it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from stbench.backbones.base import TASK_ARGUMENTS
from stbench.components import Component, load_component
from stbench.config import Settings, parse_overrides, resolve_settings
from stbench.environment import choose_runtime
from stbench.errors import StbenchError
from stbench.listing import print_rows
from stbench.profiling.hardware import machine_fingerprint, software_versions
from stbench.profiling.profile import Workload, count, profile_backbone

# Latents of 16 frames of 256x256 under the SD VAE, what published counts refer to.
DEFAULT_TASK = dict(zip(TASK_ARGUMENTS, (4, 32, 16, 0, True), strict=True))


def profile_variant(words: Iterable[str], counts_only: bool, batch_size: int) -> dict[str, Any]:
    """Count, and unless `counts_only` measure, one variant.

    Args:
        words: variant=NAME, variant.KEY=VALUE, and precision, attention, compile, device, diffusion.objective.
        counts_only: run nothing.
        batch_size: clips of a timed step.

    Returns:
        The sections `variant`, `input`, `counts`, `timing`, `memory`, `machine` and `software`.
    """
    component, settings = _resolve(words)
    task = {**DEFAULT_TASK, **{key: component.arguments[key] for key in TASK_ARGUMENTS if key in component.arguments}}
    shape = (task["in_channels"], task["num_frames"], task["sample_size"], task["sample_size"])
    workload = Workload(shape, task["num_classes"], _context_shape(component))

    def construct() -> nn.Module:
        return component.construct(task)

    if counts_only:
        costs: dict[str, Any] = {"counts": count(construct, workload), "timing": {}, "memory": {}}
    else:
        runtime = choose_runtime(settings.device, settings.precision, settings.attention)
        costs = profile_backbone(
            construct, runtime, workload,
            objective=settings.diffusion.objective, batch_size=batch_size, compile_mode=settings.compile,
        ).to_json()  # fmt: skip
        costs |= {"precision": runtime.precision, "attention": runtime.attention, "device": str(runtime.device)}
    about = {"variant": component.to_dict(), "input": {"latents": list(shape), **task}}
    return {**about, **costs, "machine": machine_fingerprint(), "software": software_versions()}


def print_costs(costs: dict[str, Any]) -> None:
    """Print a profile for people."""
    counts = costs["counts"]
    rows = [
        ("variant", costs["variant"]["name"]),
        ("latents", "x".join(map(str, costs["input"]["latents"]))),
        ("parameters", f"{counts['params_total']:,} ({counts['params_trainable']:,} trainable)"),
        ("operations", f"{counts['gmacs']:.3f} GMACs = {counts['gflops']:.3f} GFLOPs, executed, one clip"),
    ]
    rows += [(f"  by {name}", f"{value:.3f} GMACs") for name, value in counts["gmacs_by_counter"].items()]
    rows += [(f"  as {name}", f"{value:.3f} G") for name, value in counts["conventions"].items()]
    rows += [("  incomplete", reason) for reason in counts["incomplete"]]
    for name, timing in costs["timing"].items():
        spread = f"± {timing['spread'] * 1e3:.2f} ms over {len(timing['samples'])} samples"
        rows.append((name, f"{timing['median'] * 1e3:.2f} ms {spread}, {timing['batch_size']} clips"))
    rows += [(name, f"{value:.0f} MiB") for name, value in costs["memory"].items() if isinstance(value, float)]
    rows += [(name, costs[name]) for name in ("precision", "attention", "device") if name in costs]
    print_rows(rows)
    for name, note in zip(counts["conventions"], counts["convention_notes"], strict=True):
        print(f"{name}: {note}")


def _resolve(words: Iterable[str]) -> tuple[Component, Settings]:
    given = parse_overrides(words)
    name = given.pop("variant", None)
    if name is None:
        raise StbenchError("variant=NAME is missing; `stbench list variants` shows what there is")
    own = {key.partition(".")[2]: given.pop(key) for key in list(given) if key.startswith("variant.")}
    preset = given.pop("preset", None)
    component = load_component("variant", name)
    if preset is not None:
        component, _ = component.with_preset(preset)
    return component.with_arguments(own), resolve_settings(given)


def _context_shape(component: Component) -> tuple[int, ...] | None:
    text_dim = component.arguments.get("text_dim")
    return (text_dim,) if text_dim else None
