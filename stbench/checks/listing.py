"""What commands print for people: lists, the resolved configuration, a record, a report's files. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stbench import paths
from stbench.errors import StbenchError

if TYPE_CHECKING:
    from stbench.reports import ReportFiles
    from stbench.settings.schema import RunConfig

FVD_DECIMALS = 2


def print_listing(what: str) -> None:
    """Print one table of what there is: "variants", "datasets", "presets", "protocols" or "detectors"."""
    header, rows = _LISTINGS[what]()
    print(what)
    print_rows([header, *rows], indent=2)
    print()


def print_rows(rows: Iterable[tuple[str, ...]], indent: int = 0) -> None:
    """Print rows in aligned columns."""
    table = [tuple(str(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(" " * indent + line.rstrip())


def print_config(config: RunConfig) -> None:
    """Print a resolved configuration as YAML, with its hash and the folder that a run would get."""
    import yaml

    print(yaml.safe_dump(config.to_dict(), sort_keys=False).rstrip())
    print(f"config_hash: {config.config_hash}")
    print(f"run_id: {config.run_id}")


def print_record(folder: Path) -> None:
    """Print the main figures of a finished run, and where its files lie."""
    from stbench.records.store import read_record

    record = read_record(folder)
    counts, timing, training = record.counts, record.timing, record.training
    rows = [
        ("run", str(folder)),
        ("parameters", f"{counts['params_trainable'] / 1e6:.2f} M trainable"),
        ("operations", f"{counts['gmacs']:.3f} GMACs ({counts['gflops']:.3f} GFLOPs) per clip and network evaluation"),
        ("training step", f"{timing['train_step']['median'] * 1e3:.1f} ms, {timing['train_step']['batch_size']} clips"),
        ("training", f"{training['steps']} steps, {training['wall_s']:.0f} s, {training['precision']}"),
    ]
    print_rows(rows)
    print_quality(record.quality)


def print_quality(quality: dict[str, Any]) -> None:
    """Print the distances of a record's quality section with what they were measured by."""
    detector = quality["detector"]
    clips = f"{quality['n_real']} real, {quality['n_fake']} generated clips"
    rows = [(f"FVD [{detector}]", _distance(quality["fvd"], quality["refused"]) + f"  ({clips})")]
    rows += [(f"FVD [{detector}] at step {point['step']}", f"{point['fvd']:.{FVD_DECIMALS}f}")
             for point in quality.get("curve") or []]  # fmt: skip
    rows += [(f"{title} [{detector}]", text) for title, text in _further_figures(quality)]
    rows.append(("protocol", quality["protocol_hash"][:12]))
    print_rows(rows)


def print_fvd(outcome: dict[str, Any]) -> None:
    """Print what `stbench fvd` found: the two sides, the distances, and the control beside them."""
    from stbench.data.clips import summarise_reasons

    rows = []
    for name, title in (("real", "real"), ("fake", "generated")):
        side = outcome[name]
        why = summarise_reasons(video["reason"] for video in side["dropped"])
        dropped = f"; dropped {len(side['dropped'])}: {why}" if why else ""
        ignored = f"; {len(side['ignored'])} other files ignored" if side["ignored"] else ""
        rows.append((title, f"{side['origin']}: {side['used']} of {side['found']} videos used{dropped}{ignored}"))
    quality, control = outcome["quality"], outcome["control"] or {}
    print_rows([*rows, ("preset", outcome["preset"]), ("label", quality["label"])])
    print_quality(quality)
    shuffled = [(f"{title} [{quality['detector']}], frames shuffled", f"{control[key]:{form}}")
                for title, key, form in (("FVD", "fvd_shuffled", f".{FVD_DECIMALS}f"), ("KVD", "kvd_shuffled", ".4g"))
                if control.get(key) is not None]  # fmt: skip
    if shuffled:
        print_rows(shuffled)
    if frames := outcome["frames"]:
        numbers = f"{frames['num_real']} real, {frames['num_fake']} generated frames"
        fid = _distance(frames["fid"], frames["refused"])
        print_rows([(f"FID [{frames['detector']}], single frames", f"{fid}  ({numbers})")])


def print_report(files: ReportFiles) -> None:
    """Print a report's table, and where its page lies."""
    print(files.runs_markdown.read_text(encoding="utf-8").rstrip())
    print(f"\nreport: {files.index}")


def _distance(value: float | None, refused: str | None) -> str:
    return f"refused: {refused}" if value is None else f"{value:.{FVD_DECIMALS}f}"


def _further_figures(quality: dict[str, Any]) -> list[tuple[str, str]]:
    """What a quality section holds beside the FVD; records of earlier versions hold less."""
    rows = []
    if quality.get("fvd_inf") is not None:
        rows.append(("FVD∞", f"{quality['fvd_inf']:.{FVD_DECIMALS}f}{_jackknife(quality.get('fvd_interval'))}"))
    for name, title in (("kvd", "KVD"), ("mmd", "MMD")):
        if quality.get(name) is not None:
            rows.append((title, f"{quality[name]:.4g}{_within(quality.get(f'{name}_interval'), '.4g')}"))
    for pair in (("precision", "recall"), ("density", "coverage")):
        if None not in (values := [quality.get(name) for name in pair]):
            rows.append((", ".join(pair), ", ".join(f"{value:.3f}" for value in values)))
    if quality.get("inception_score") is not None:
        rows.append(("Inception Score", f"{quality['inception_score']:.2f}"))
    return rows


def _jackknife(bounds: list[float] | None) -> str:
    """The other estimate of FVD∞, which has the interval, and lies in the middle of it."""
    return f", by jackknife {sum(bounds) / 2:.{FVD_DECIMALS}f}{_within(bounds, f'.{FVD_DECIMALS}f')}" if bounds else ""


def _within(bounds: list[float] | None, spec: str) -> str:
    return f" (95 % interval {bounds[0]:{spec}} to {bounds[1]:{spec}})" if bounds else ""


_Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _variants() -> _Table:
    return ("name", "backbone", "source"), _component_rows("variant")


def _datasets() -> _Table:
    return ("name", "dataset", "source"), _component_rows("dataset")


def _component_rows(kind: str) -> list[tuple[str, ...]]:
    from stbench.settings.components import describe_file

    rows: list[tuple[str, ...]] = []
    for name, path in paths.config_files(f"{kind}s").items():
        try:
            about = describe_file(kind, path)
        except StbenchError as error:  # one broken file of the user's must not hide the others
            about = {"target": "?", "source": str(error)}
        rows.append((name, about["target"], about["source"]))
    return rows


def _presets() -> _Table:
    from stbench.settings.presets import PRESETS

    names = list(PRESETS)
    keys = list(dict.fromkeys(key for preset in PRESETS.values() for key in preset))
    return ("setting", *names), [(key, *(str(PRESETS[name].get(key, "")) for name in names)) for key in keys]


def _protocols() -> _Table:
    from stbench.metrics.protocol import PROTOCOLS

    rows: list[tuple[str, ...]] = [
        (name, each.detector, each.preprocessing, str(each.num_frames or "the run's"),
         str(each.frame_stride_real or "the run's"), str(each.num_real or "all"))
        for name, each in PROTOCOLS.items()
    ]  # fmt: skip
    return ("name", "detector", "preprocessing", "frames", "real stride", "clips"), rows


def _detectors() -> _Table:
    from stbench.metrics.catalogue import DETECTORS
    from stbench.metrics.detector_weights import describe_weights

    rows: list[tuple[str, ...]] = [
        (name, str(info.feature_dim or "the weights'"), info.description, describe_weights(name))
        for name, info in DETECTORS.items()
    ]
    return ("name", "features", "what it is", "weights"), rows


_LISTINGS = {
    "variants": _variants,
    "datasets": _datasets,
    "presets": _presets,
    "protocols": _protocols,
    "detectors": _detectors,
}
