"""Records on disk, read back one by one or as a table: one `result.json` a run folder, which a run writes last."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stbench.errors import StbenchError
from stbench.records.schema import REFERENCES, SCORES, WITH_INTERVAL, Record, flatten, value_at
from stbench.records.sections import CostConditions, Quality

if TYPE_CHECKING:
    import pandas as pd

RECORD_NAME = "result.json"
CONFIG_NAME = "config.json"  # lies in every run's folder, from its beginning
# Not of a run, but of a metric, of a machine and of many runs: they may lie beside records.
STUDY_NAME, BENCH_NAME, CARD_NAME, OUTCOME_NAME = "study.json", "bench.json", "noise_card.json", "claims.json"
# Sections of a record that tell what settings came to, and their fields that do.
USED = {
    "conditions": tuple(each.name for each in dataclasses.fields(CostConditions)),
    "training": ("precision", "attention", "device", "freed_memory"),
}


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
    except RecursionError:
        raise StbenchError(f"{file}: not valid JSON: nested too deeply") from None
    except StbenchError as error:
        raise StbenchError(f"{file}: {error}") from error


@dataclass(frozen=True)
class FoundRecords:
    """What lies under some paths.

    Attributes:
        stored: the records, each run once.
        unreadable: the files of records that cannot be read, each with the reason in one line.
        copies: folders of runs that are in `stored` already, from another folder.
    """

    stored: list[StoredRecord]
    unreadable: dict[Path, str]
    copies: list[Path]


def find_records(paths: Iterable[Path | str]) -> FoundRecords:
    """Read every record under `paths`, in the order of the paths and then by name.

    A damaged record among others is named, and costs these nothing. A run that was copied is one run.

    Args:
        paths: run folders, folders that hold run folders at any depth, folders of record files, or record files.

    Raises:
        StbenchError: a path that is missing, or holds no record that can be read.
    """
    files = {file.resolve(): file for path in paths for file in _record_files(Path(path))}
    found, of_run = FoundRecords([], {}, []), dict[str, list[Record]]()
    for file in files.values():
        try:
            record = read_record(file)
        except StbenchError as error:
            found.unreadable[file] = str(error)
            continue
        if record in of_run.setdefault(record.run_id, []):
            found.copies.append(file.parent)
        else:
            of_run[record.run_id].append(record)
            found.stored.append(StoredRecord(record, file.parent))
    if found.unreadable and not found.stored:
        raise StbenchError(next(iter(found.unreadable.values())))
    return found


def _record_files(path: Path) -> list[Path]:
    """The files of records at a path.

    Raises:
        StbenchError: it is missing, or holds none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise StbenchError(f"{path}: not found; expected a run folder, a folder of run folders, or a {RECORD_NAME}")
    files = sorted(path.rglob(RECORD_NAME)) or sorted(filter(_may_be_record, path.rglob("*.json")))
    if not files:
        raise StbenchError(f"{path}: holds no record; expected {RECORD_NAME} in it or in a folder below it")
    return files


def _may_be_record(file: Path) -> bool:
    """Whether a JSON file of any name may be a record: it is no study, no bench, and no file of a run without one."""
    return (
        file.name not in (STUDY_NAME, BENCH_NAME, CARD_NAME, OUTCOME_NAME) and not (file.parent / CONFIG_NAME).exists()
    )


def load_records(path: Path | str) -> pd.DataFrame:
    """Return the records under `path` as a table, one row a run, every column named with its unit.

    Scores stand in columns of their detector (`fvd_i3d`, `kvd_shapes3d`): two detectors never share one. The 95 %
    intervals beside them (`fvd_i3d_low`, `fvd_i3d_high`) are of the clips alone and leave out the noise of seeds.

    Every setting is a column under its name on the command line, as it was asked for (`train.lr`, `variant.size`,
    `precision`). What it came to is in the columns of two sections of the record: `conditions.precision`,
    `conditions.threads` and so on for times and memory, `training.precision` and so on for the training.

    A record that cannot be read is a row with the status "unreadable", the reason and its folder.

    Raises:
        StbenchError: as `find_records`.
    """
    import pandas as pd

    found = find_records([path])
    unreadable = [
        {"status": "unreadable", "reason": reason, "run_dir": str(file.parent)}
        for file, reason in found.unreadable.items()
    ]
    return pd.concat([records_frame(found.stored), pd.DataFrame(unreadable)], ignore_index=True)


def records_frame(stored: Iterable[StoredRecord]) -> pd.DataFrame:
    """Return one row a record; see `load_records`."""
    import pandas as pd

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
        "train.steps": value_at(config, "train.steps"),
        "train.batch_size": value_at(config, "train.batch_size"),
        "status": record.status,
        "reason": record.reason,
        "params_m": counts and counts.params_total / 1e6,
        "gmacs": counts and counts.gmacs,
        "gflops": counts and counts.gflops,
        "counts_incomplete": (counts and ", ".join(counts.incomplete)) or None,
        "forward_ms": forward and 1e3 * forward.median,
        "forward_ms_iqr": forward and 1e3 * forward.spread,
        "forward_waited_share": forward and forward.waited_share,
        "train_step_ms": step and 1e3 * step.median,
        "train_step_ms_iqr": step and 1e3 * step.spread,
        "train_step_waited_share": step and step.waited_share,
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
        **_settings(record),
    }
    return row | (_quality_figures(quality) if quality else {})


def _settings(record: Record) -> dict[str, Any]:
    """Every setting by its name on the command line, and what those came to that were left open."""
    asked = {key.replace(".arguments.", "."): value for key, value in flatten(record.config).items()}
    used = {
        f"{section}.{name}": value_at(record, f"{section}.{name}") for section, names in USED.items() for name in names
    }
    in_front = ("variant.name", "dataset.name", "preset", "seed")
    return {
        key: json.dumps(value) if isinstance(value, list | tuple) else value  # a list could not be grouped by
        for key, value in {**asked, **used}.items()
        if key not in in_front
    }


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
