"""What `stbench profile` prints and writes: tables of costs, and with `--out` JSON, CSV and plots. Imports no torch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stbench.records.costs import cost_row, variants_of
from stbench.reports.terminal import print_rows
from stbench.storage.files import write_json
from stbench.storage.folder import swapped_in

OUTPUT_NAMES = ("costs.json", "costs.csv", "scaling.csv", "plots")
# Columns of the comparison: key of `cost_row` -> heading and format.
COMPARISON = {
    "params_m": ("params (M)", ".2f"),
    "gmacs": ("GMACs", ".2f"),
    "gmacs_train_step": ("GMACs train", ".2f"),
    "forward_ms": ("forward (ms)", ".1f"),
    "train_step_ms": ("train step (ms)", ".1f"),
    "sampling_step_ms": ("sampling step (ms)", ".1f"),
    "train_step_compile_s": ("compile (s)", ".1f"),
    "train_clips_per_s": ("train clips/s", ".3g"),
    "peak_mib": ("peak (MiB)", ".0f"),
    "mfu_of_measured_ceiling": ("MFU of measured", ".3f"),
    "mfu_of_datasheet": ("MFU of data sheet", ".3f"),
    "largest_batch_size": ("largest batch", "d"),
}
NOT_KNOWN = "-"


def print_costs(costs: dict[str, Any]) -> None:
    """Print a profile for people: one variant in full, several as a table with a row each."""
    if "variants" in costs:
        _print_comparison([cost_row(sections) for sections in costs["variants"]])
    else:
        _print_one(costs)
    for sections in variants_of(costs):
        _print_scaling(sections)
    if "ceilings" in costs:
        _print_ceilings(costs["ceilings"])


def write_costs(costs: dict[str, Any], folder: Path) -> None:
    """Write a profile into a folder: costs.json, costs.csv, scaling.csv and plots.

    Raises:
        StbenchError: when the folder holds anything else, or cannot be written.
    """
    from stbench.reports.costs.plots import draw_cost_plots
    from stbench.reports.drawing import write_figure

    everything = variants_of(costs)
    with swapped_in(folder, OUTPUT_NAMES) as temporary:
        write_json(temporary / "costs.json", costs)
        _write_csv(temporary / "costs.csv", [cost_row(sections) for sections in everything])
        points = [
            {"variant": sections["variant"]["name"], **point}
            for sections in everything
            for point in (sections.get("scaling") or {}).get("points", [])
        ]
        if points:
            _write_csv(temporary / "scaling.csv", points)
        (temporary / "plots").mkdir()
        for name, figure in draw_cost_plots(everything, costs.get("ceilings")).items():
            write_figure(figure, temporary / "plots", name)


def _print_one(costs: dict[str, Any]) -> None:
    counts = costs["counts"]
    rows = [
        ("variant", costs["variant"]["name"]),
        ("latents", "x".join(map(str, costs["input"]["latents"]))),
        ("parameters", f"{counts['params_total']:,} ({counts['params_trainable']:,} trainable)"),
        ("operations", f"{counts['gmacs']:.3f} GMACs = {counts['gflops']:.3f} GFLOPs, executed, one clip"),
    ]
    if counts["gmacs_train_step"] is not None:
        rows.append(("  train step", f"{counts['gmacs_train_step']:.3f} GMACs, forward and backward, one clip"))
    rows += [(f"  by {name}", f"{value:.3f} GMACs") for name, value in counts["gmacs_by_counter"].items()]
    rows += [(f"  as {name}", f"{value:.3f} G") for name, value in counts["conventions"].items()]
    rows += [("  incomplete", reason) for reason in counts["incomplete"]]
    rows += [(name, _timing(timing)) for name, timing in costs["timing"].items()]
    rows += [(name, f"{value:.0f} MiB") for name, value in costs["memory"].items() if isinstance(value, float)]
    rows += [(f"MFU of {name}", _utilisation(each)) for name, each in costs.get("utilisation", {}).items()]
    energy = costs.get("energy", {}).get("train_step_j")
    rows += [("energy", f"{energy:.2f} J a training step")] if energy is not None else []
    rows += [(name, costs[name]) for name in ("precision", "attention", "device") if name in costs]
    print_rows(rows)
    _print_parts(counts["gmacs_by_part"])
    _print_batch_sizes(costs.get("batch_size_search"))
    for name, note in zip(counts["conventions"], counts["convention_notes"], strict=True):
        print(f"{name}: {note}")


def _timing(timing: dict[str, Any]) -> str:
    spread = f"± {timing['spread'] * 1e3:.2f} ms over {len(timing['samples'])} samples"
    rate = f"{timing['batch_size']} clips, {timing['clips_per_s']:.3g} clips/s, compile {timing['compile_s']:.2f} s"
    return f"{timing['median'] * 1e3:.2f} ms {spread}, {rate}"


def _utilisation(step: dict[str, Any]) -> str:
    datasheet = step["mfu_of_datasheet"]
    of_datasheet = "" if datasheet is None else f", {100 * datasheet:.1f} % of the data sheet"
    return f"{100 * step['mfu_of_measured_ceiling']:.1f} % of the measured ceiling{of_datasheet}"


def _print_parts(gmacs_by_part: dict[str, float]) -> None:
    """Print the breakdown by module, largest first."""
    total = sum(gmacs_by_part.values())
    parts = sorted(gmacs_by_part.items(), key=lambda part: -part[1])
    print()
    print_rows(
        [("module", "GMACs", "share")] + [(n or "(itself)", f"{g:.4f}", f"{100 * g / total:.1f} %") for n, g in parts]
    )


def _print_batch_sizes(search: dict[str, Any] | None) -> None:
    if search is None:
        return
    print()
    header = ("batch size", "status", "peak (MiB)", "reason")
    print_rows([header] + [
        (str(each["batch_size"]), each["status"], _cell(each["peak_mib"], ".0f"), each["reason"] or "")
        for each in search["trials"]
    ])  # fmt: skip
    print(f"largest batch of a training step that fits: {search['largest_batch_size'] or 'none'}")


def _print_comparison(rows: Sequence[dict[str, Any]]) -> None:
    columns = {key: column for key, column in COMPARISON.items() if any(row.get(key) is not None for row in rows)}
    header = ("variant", "status", *(heading for heading, _ in columns.values()), "reason")
    print_rows([header] + [
        (row["variant"], row["status"], *(_cell(row.get(key), form) for key, (_, form) in columns.items()),
         row["reason"] or "")
        for row in rows
    ])  # fmt: skip


def _print_scaling(sections: dict[str, Any]) -> None:
    """Print the costs at every size, and the exponents in the last line."""
    scaling = sections.get("scaling")
    if scaling is None:
        return
    axis, exponents = scaling["axis"], scaling["exponents"]
    figures = [figure for figure, exponent in exponents.items() if exponent is not None]
    print(f"\n{sections['variant']['name']} by {axis}; operations of the batch")
    print_rows([
        (axis, *figures, "status"),
        *((str(point[axis]), *(_cell(point.get(figure), ".4g") for figure in figures), _status(point))
          for point in scaling["points"]),
        ("exponent", *(f"{exponents[figure]:.3f}" for figure in figures), scaling["formula"]),
    ])  # fmt: skip


def _status(point: dict[str, Any]) -> str:
    return point["status"] + (f": {point['reason']}" if point["reason"] else "")


def _print_ceilings(ceilings: dict[str, Any]) -> None:
    speeds = ", ".join(f"{speed:.0f} GFLOP/s {name}" for name, speed in ceilings["matmul_gflops_per_s"].items())
    print(f"\nmeasured ceilings: {speeds}, {ceilings['copy_gb_per_s']:.1f} GB/s; data sheet: {ceilings['datasheet']}")


def _cell(value: Any, form: str) -> str:
    return NOT_KNOWN if value is None else format(value, form)


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
