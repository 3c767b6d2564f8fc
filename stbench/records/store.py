"""Records on disk, read back one by one or as a table: one `result.json` a run folder, which a run writes last."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stbench.errors import StbenchError
from stbench.records.schema import REFERENCES, SCORES, WITH_INTERVAL, Record, value_at
from stbench.records.sections import Quality

RECORD_NAME = "result.json"
# Not of a run, but of a metric and of a machine: they may lie beside records.
STUDY_NAME, BENCH_NAME = "study.json", "bench.json"


@dataclass(frozen=True)
class StoredRecord:
    """A record and the folder that its `files` are relative to."""

    record: Record
    run_dir: Path

    def file(self, name: str | None) -> Path | None:
        """Return the path of the run's file `name`, or None where it is not kept: records may be copied alone.

        Raises:
            StbenchError: the record points outside its run folder.
        """
        path = self.run_dir / (name or "")
        if not path.resolve().is_relative_to(self.run_dir.resolve()):
            raise StbenchError(f"run {self.record.run_id!r}: {name!r} lies outside the run folder {self.run_dir}")
        return path if path.is_file() else None


def read_record(path: Path | str) -> Record:
    """Read the record of a run folder, or a record's JSON file.

    Raises:
        StbenchError: naming the file, when it is missing, not JSON, of another schema version, or wrong.
    """
    path = Path(path)
    file = path / RECORD_NAME if path.is_dir() else path
    try:
        return Record.from_json(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise StbenchError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise StbenchError(f"{file}: not valid JSON: {error}") from error
    except StbenchError as error:
        raise StbenchError(f"{file}: {error}") from error


def find_records(paths: Iterable[Path | str]) -> list[StoredRecord]:
    """Read every record under `paths`, each once, in the order of the paths and then by name.

    Args:
        paths: run folders, folders that hold run folders at any depth, folders of record files, or record files.

    Raises:
        StbenchError: a path that is missing or holds no record, or a record that cannot be read.
    """
    unique: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_file() and not path.is_dir():
            raise StbenchError(f"{path}: not found; expected a run folder, a folder of run folders, or a {RECORD_NAME}")
        files = [path]
        if path.is_dir():
            other = (file for file in path.rglob("*.json") if file.name not in (STUDY_NAME, BENCH_NAME))
            files = sorted(path.rglob(RECORD_NAME)) or sorted(other)
        if not files:
            raise StbenchError(f"{path}: holds no record; expected {RECORD_NAME} in it or in a folder below it")
        unique |= {file.resolve(): file for file in files}
    return [StoredRecord(read_record(file), file.parent) for file in unique.values()]


def load_records(path: Path | str) -> pd.DataFrame:
    """Return the records under `path` as a table, one row a run, every column named with its unit.

    Scores stand in columns of their detector (`fvd_i3d`, `kvd_shapes3d`): two detectors never share one. The 95 %
    intervals beside them (`fvd_i3d_low`, `fvd_i3d_high`) are of the clips alone and leave out the noise of seeds.

    Raises:
        StbenchError: as `find_records`.
    """
    return records_frame(find_records([path]))


def records_frame(stored: Iterable[StoredRecord]) -> pd.DataFrame:
    """Return one row a record; see `load_records`."""
    rows = [_row(item.record, item.run_dir) for item in stored]
    detectors = sorted({row["detector"] for row in rows if row["detector"]})
    qualities = [column for name in detectors for column in _quality_columns(name)]
    frame = pd.DataFrame(rows)
    first = list(frame.columns).index("n_real")
    fixed = [name for name in frame.columns if name not in qualities]
    return frame.reindex(columns=fixed[:first] + qualities + fixed[first:])


def _row(record: Record, run_dir: Path) -> dict[str, Any]:
    config, counts, memory, quality = record.config, record.counts, record.memory, record.quality
    forward, step = record.timing.get("forward"), record.timing.get("train_step")
    row = {
        "run_id": record.run_id,
        "variant": value_at(config, "variant.name"),
        "dataset": value_at(config, "dataset.name"),
        "preset": config.get("preset"),
        "seed": config.get("seed"),
        "precision": config.get("precision"),
        "train_steps": value_at(config, "train.steps"),
        "batch_size": value_at(config, "train.batch_size"),
        "status": record.status,
        "reason": record.reason,
        "params_m": counts and counts.params_total / 1e6,
        "gmacs": counts and counts.gmacs,
        "gflops": counts and counts.gflops,
        "counts_incomplete": (counts and ", ".join(counts.incomplete)) or None,
        "forward_ms": forward and 1e3 * forward.median,
        "forward_ms_iqr": forward and 1e3 * forward.spread,
        "train_step_ms": step and 1e3 * step.median,
        "train_step_ms_iqr": step and 1e3 * step.spread,
        "clips_per_s": record.training and record.training.clips_per_s,
        "peak_rss_mib": memory and memory.peak_rss_mib,
        "peak_allocated_mib": memory and memory.peak_allocated_mib,
        "peak_reserved_mib": memory and memory.peak_reserved_mib,
        "loss_final": record.training and record.training.loss_final,
        "detector": record.detector,
        "n_real": quality and quality.n_real,
        "n_fake": quality and quality.n_fake,
        "refused": quality and quality.refused,
        "protocol_hash": quality and quality.protocol_hash,
        "config_hash": record.config_hash,
        "group": record.group_hash[:12],
        "machine": record.machine and record.machine.fingerprint,
        "torch": record.software and record.software.torch,
        "created": record.created,
        "run_dir": str(run_dir),
    }
    return row | (_quality_figures(quality) if quality else {})


def _quality_columns(detector: str) -> list[str]:
    """The columns that tell of quality by a detector; the bounds of an interval stand behind their figure."""
    ends = {score: ("", "_low", "_high") if score in WITH_INTERVAL else ("",) for score in (*SCORES, *REFERENCES)}
    return [f"{score}_{detector}{end}" for score, names in ends.items() for end in names]


def _quality_figures(quality: Quality) -> dict[str, float | None]:
    """The figures of those columns, in their order."""
    figures: list[float | None] = []
    for score in (*SCORES, *REFERENCES):
        figures.append(getattr(quality, score))
        if score in WITH_INTERVAL:
            figures += value_at(quality, f"{score}_interval") or (None, None)
    return dict(zip(_quality_columns(quality.detector), figures, strict=True))
