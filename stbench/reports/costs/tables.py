"""What `stbench profile` prints and writes: tables of costs, and with `--out` JSON, CSV and plots. Imports no torch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stbench.records.costs import BatchSizeSearch, Profile, VariantCost, cost_row, largest_parts
from stbench.records.statistics import under_load, waiting
from stbench.reports.costs.shapes import print_shapes
from stbench.reports.terminal import print_rows, print_sentence
from stbench.reports.text import csv_cell
from stbench.storage.files import write_json
from stbench.storage.folder import check_replaceable, swapped_in

OUTPUT_NAMES = ("costs.json", "costs.csv", "scaling.csv", "plots")
# Columns of the comparison: key of `cost_row` -> heading and format.
COMPARISON = {
    "params_m": ("params (M)", ".2f"),
    "gmacs": ("GMACs", ".2f"),
    "gmacs_train_step": ("GMACs, train step", ".2f"),
    "forward_ms": ("forward (ms)", ".1f"),
    "train_step_ms": ("train step (ms)", ".1f"),
    "sampling_step_ms": ("sampling step (ms)", ".1f"),
    "train_step_compile_s": ("first step, excess (s)", ".1f"),
    "train_clips_per_s": ("train clips/s", ".3g"),
    "peak_mib": ("peak (MiB)", ".0f"),
    "mfu_of_measured_ceiling": ("MFU, measured ceiling", ".3f"),
    "mfu_of_datasheet": ("MFU, data sheet", ".3f"),
    "largest_batch_size": ("largest batch", "d"),
}
NOT_KNOWN = "-"


def print_costs(profile: Profile) -> None:
    """Print a profile for people: one variant in full, several as a table with a row each."""
    if len(profile.variants) == 1:
        _print_one(profile.variants[0])
    else:
        rows = [cost_row(each) for each in profile.variants]
        columns = {key: column for key, column in COMPARISON.items() if any(row.get(key) is not None for row in rows)}
        table = [("variant", "status", *(heading for heading, _ in columns.values()), "reason")]
        for row in rows:
            figures = [_cell(row.get(key), form) for key, (_, form) in columns.items()]
            table.append((row["variant"], row["status"], *figures, row["reason"] or ""))
        print(_per_what(profile))
        print_rows(table)
    for each in profile.variants:
        if each.shapes is not None:
            print_shapes(each)
        if each.scaling is None:
            continue
        # The costs at every size, and the exponents in the last line.
        axis, exponents = each.scaling.axis, each.scaling.exponents
        shown = [figure for figure, exponent in exponents.items() if exponent is not None]
        sizes: list[tuple[str, ...]] = [(axis, *shown, "status")]
        for point in each.scaling.points:
            status = point["status"] + (f": {point['reason']}" if point["reason"] else "")
            sizes.append((str(point[axis]), *(_figure(point.get(figure)) for figure in shown), status))
        sizes.append(("exponent", *(f"{exponents[figure]:.3f}" for figure in shown), each.scaling.formula))
        print(f"\n{each.variant['name']} by {axis}; operations of the batch")
        print_rows(sizes)
    for each in profile.variants:
        for step, timing in (each.cost.timing if each.cost else {}).items():
            if timing.waited_share is not None and under_load(timing.waited_share):
                print_sentence(
                    f"{each.variant['name']}: {step} is slowed by other work: {waiting(timing.waited_share)}"
                )
    if profile.ceilings:
        ceilings = profile.ceilings
        speeds = ", ".join(f"{speed:.0f} GFLOP/s {name}" for name, speed in ceilings.matmul_gflops_per_s.items())
        print()
        print_sentence(
            f"measured ceilings: {speeds}, {ceilings.copy_gb_per_s:.1f} GB/s; data sheet: {ceilings.datasheet}"
        )
        if ceilings.waited_share is not None and under_load(ceilings.waited_share):
            print_sentence(f"they are too low, and MFU of them too high: {waiting(ceilings.waited_share)}")


def check_costs_folder(folder: Path) -> None:
    """Refuse a folder that `write_costs` would, before anything is measured."""
    check_replaceable(folder, OUTPUT_NAMES)


def write_costs(profile: Profile, folder: Path) -> None:
    """Write a profile into a folder: costs.json, costs.csv, scaling.csv and plots.

    Raises:
        StbenchError: when the folder holds anything else, or cannot be written.
    """
    from stbench.reports.costs.plots import draw_cost_plots
    from stbench.reports.drawing import write_figure

    points = [
        {"variant": each.variant["name"], **point}
        for each in profile.variants
        if each.scaling
        for point in each.scaling.points
    ]
    with swapped_in(folder, OUTPUT_NAMES) as temporary:
        write_json(temporary / "costs.json", profile.to_json())
        _write_csv(temporary / "costs.csv", [cost_row(each) for each in profile.variants])
        if points:
            _write_csv(temporary / "scaling.csv", points)
        (temporary / "plots").mkdir()
        for name, figure in draw_cost_plots(profile).items():
            write_figure(figure, temporary / "plots", name)


def _print_one(of: VariantCost) -> None:
    """Print everything about one variant; alone it has a cost, or there would be no profile."""
    assert of.cost is not None
    counts, timing, memory, energy = of.cost.counts, of.cost.timing, of.cost.memory, of.cost.energy
    rows = [
        ("variant", of.variant["name"]),
        ("latents", "x".join(map(str, of.input["latents"]))),
        ("parameters", f"{counts.params_total:,} ({counts.params_trainable:,} trainable)"),
        ("operations", f"{counts.gmacs:.3f} GMACs = {counts.gflops:.3f} GFLOPs, executed, one clip"),
    ]
    if counts.gmacs_train_step is not None:
        rows.append(("  train step", f"{counts.gmacs_train_step:.3f} GMACs, forward and backward, one clip"))
    rows += [(f"  by {name}", f"{value:.3f} GMACs") for name, value in counts.gmacs_by_counter.items()]
    rows += [(f"  as {name}", f"{value:.3f} G") for name, value in counts.conventions.items()]
    rows += [("  incomplete", reason) for reason in counts.incomplete]
    for name, step in timing.items():
        spread = f"± {step.spread * 1e3:.2f} ms over {len(step.samples)} samples"
        rate = f"{step.batch_size} clips, {step.clips_per_s:.3g} clips/s, first call {step.compile_s:.2f} s longer"
        rows.append((name, f"{step.median * 1e3:.2f} ms {spread}, {rate}"))
    peaks = asdict(memory).items() if memory else ()
    rows += [(name, f"{value:.0f} MiB") for name, value in peaks if isinstance(value, float)]
    for name, used in (of.utilisation or {}).items():
        share, of_datasheet = f"{100 * used.mfu_of_measured_ceiling:.1f} % of the measured ceiling", ""
        if used.mfu_of_datasheet is not None:
            of_datasheet = f", {100 * used.mfu_of_datasheet:.1f} % of the data sheet"
        rows.append((f"MFU of {name}", share + of_datasheet))
    if energy and energy.train_step_j is not None:
        rows.append(("energy", f"{energy.train_step_j:.2f} J a training step"))
    if under := of.cost.conditions:
        reached = ", which reaches no module" if counts.attention_modules == 0 else ""
        rows += [("precision", under.precision), ("attention", under.attention + reached)]
        rows += [("device", under.device), ("threads", str(under.threads))]
    print_rows(rows)
    print()
    total = sum(counts.gmacs_by_part.values())
    parts = largest_parts(counts.gmacs_by_part)
    shares = [(name, f"{gmacs:.4f}", f"{100 * gmacs / total:.1f} %") for name, gmacs in parts.items()]
    print_rows([("module", "GMACs", "share"), *shares])
    if of.batch_size_search:
        trials = [
            (str(each.batch_size), each.status, _cell(each.peak_mib, ".0f"), each.reason or "")
            for each in of.batch_size_search.trials
        ]
        print()
        print_rows([("batch size", "status", "peak (MiB)", "reason"), *trials])
        print(f"largest batch of a training step that fits: {_largest(of.batch_size_search)}")
    for name, note in zip(counts.conventions, counts.convention_notes, strict=True):
        print_sentence(f"{name}: {note}")


def _per_what(profile: Profile) -> str:
    """What the figures of several variants are of."""
    batches = {step.batch_size for each in profile.variants if each.cost for step in each.cost.timing.values()}
    noun = "clip" if batches == {1} else "clips"
    times = f"; times of {' or '.join(map(str, sorted(batches)))} {noun}" if batches else ""
    return f"operations of one clip{times}"


def _largest(search: BatchSizeSearch) -> str:
    """The largest batch that fits, and whether a larger one was tried."""
    largest = search.largest_batch_size
    if largest is None:
        return "none"
    capped = largest == search.trials[-1].batch_size
    return f"at least {largest}: --max-batch-size ended the search" if capped else str(largest)


def _cell(value: Any, form: str) -> str:
    return NOT_KNOWN if value is None else format(value, form)


def _figure(value: float | None) -> str:
    """A figure of a series: a number of parameters to the last digit, as beside it."""
    return _cell(value, "," if isinstance(value, int) else ".4g")


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(csv_cell, columns))
        writer.writerows([csv_cell(row.get(column)) for column in columns] for row in rows)
