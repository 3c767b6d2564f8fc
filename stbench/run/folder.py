"""The folder of one run: the names of its files, and what is in them.

runs/<run_id>/
  config.json               what was asked for, resolved, and the hashes of what the run is made of
  code/                     of a backbone or dataset of one's own
  cost.json                 parameters, operations, times, memory
  loss.csv                  one line per step
  checkpoints/              the newest two
  curve.json                quality before and during training
  validation.json           the validation loss likewise, and at the end
  attention.json            what attention=auto chose, for --resume
  lost.json                 videos that could not be read after all
  samples.npz, real.npz     clips for the report
  samples-step-*.npz        the same at the points of the curve
  features.npz              of every judged clip
  result.json               the record, written last
  stbench.lock              while a process works here
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from stbench.errors import StbenchError, first_line
from stbench.progress import say
from stbench.records.schema import STEP_SAMPLES, Record
from stbench.records.sections import AttentionChoice, Cost, CurvePoint, ValidationPoint
from stbench.records.store import CONFIG_NAME, RECORD_NAME, read_record
from stbench.run.contents import copy_code
from stbench.settings.resolve import from_dict
from stbench.settings.schema import RunConfig
from stbench.settings.targets import is_foreign
from stbench.storage.clips import Clips
from stbench.storage.files import UNFINISHED, read_sealed, write_arrays, write_bytes, write_sealed
from stbench.storage.lock import LOCK_NAME

T = TypeVar("T")

CODE, STEP_FILE = "code", "samples-step-"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run. What was not written yet reads as None or as nothing."""

    path: Path

    @property
    def begun(self) -> bool:
        """Whether an earlier process left anything here."""
        return self.path.is_dir() and any(each.name != LOCK_NAME for each in self.path.iterdir())

    @property
    def has_record(self) -> bool:
        """Whether the run came to an end, of whatever kind."""
        return (self.path / RECORD_NAME).exists()

    def is_finished(self, config_hash: str | None = None) -> bool:
        """Whether its record says that it finished.

        Raises:
            StbenchError: the record is damaged, or of another configuration than this.
        """
        if not self.has_record:
            return False
        try:
            record = read_record(self.path)
            if config_hash not in (None, record.config_hash):
                written = record.config_hash[:8]
                raise StbenchError(f"{self.path / RECORD_NAME} is of another run, configuration {written}")
            return record.finished
        except StbenchError as error:
            raise StbenchError(f"{error}; delete it, and --resume writes it again") from error

    def remove_leftovers(self) -> None:
        """Remove what a process that was killed had half written, and say so."""
        begun_by_safetensors = (self.path / "checkpoints").glob(".tmp*")
        for path in [*self.path.glob(f"*{UNFINISHED}"), *self.path.glob(f"*/*{UNFINISHED}"), *begun_by_safetensors]:
            say(f"removed {path} ({path.stat().st_size} bytes), which a killed process left half written")
            path.unlink()

    def begin(self, config: RunConfig, cost: Cost) -> None:
        """Write what was asked for, the code that it names, and what it costs."""
        copy_code(config, self.path / CODE)
        write_sealed(self.path / CONFIG_NAME, config.to_dict())
        self._write("cost.json", asdict(cost))

    def read_config(self, trust_code: bool = False) -> RunConfig:
        """The configuration that the folder was made with.

        Args:
            trust_code: whether code that is not stbench's may be imported: that of the folder, or what it names.

        Raises:
            StbenchError: when the folder is not a run's, names code that is not trusted, or its configuration no
                longer fits this stbench.
        """
        if not (self.path / CONFIG_NAME).is_file():
            raise StbenchError(f"{self.path} is not a run's folder: it has no config.json")
        try:
            content = read_sealed(self.path / CONFIG_NAME)
        except StbenchError as error:
            raise StbenchError(f"{error}; the run's own command with --resume writes it again") from error
        targets = [content["variant"]["backbone"], content["dataset"]["dataset"], content["protocol"]]
        foreign = [target for target in targets if ":" in target and is_foreign(target)]
        if foreign and not trust_code:
            raise StbenchError(
                f"{self.path}/config.json names code that is not stbench's, {' and '.join(foreign)}: "
                f"--trust-code runs it (read it first: {self.path / CODE})"
            )
        return from_dict(content, self.path / CODE)

    def read_cost(self) -> Cost | None:
        """What the backbone costs; None where that is to be measured, also for a second time."""
        try:
            return self._read("cost.json", Cost)
        except StbenchError as error:
            say(f"{error}; not used")
            return None

    def read_curve(self) -> tuple[CurvePoint, ...]:
        """Quality before and during training, as far as it went; the points' hashes tell their protocols."""
        return self._read_rows("curve.json", tuple[CurvePoint, ...], "the points so far are then lost")

    def write_curve(self, points: Sequence[CurvePoint]) -> None:
        """Keep these points."""
        self._write("curve.json", [asdict(point) for point in points])

    def read_validation(self, protocol_hash: str) -> tuple[ValidationPoint, ...]:
        """The validation loss so far under this protocol; a run that went on elsewhere may have begun under another."""
        rows = self._read_rows("validation.json", tuple[tuple[str, ValidationPoint], ...], "the points are then lost")
        return tuple(point for measured_by, point in rows if measured_by == protocol_hash)

    def write_validation(self, protocol_hash: str, points: Sequence[ValidationPoint]) -> None:
        """Keep these points."""
        self._write("validation.json", [(protocol_hash, asdict(point)) for point in points])

    def read_attention_choices(self) -> tuple[AttentionChoice, ...]:
        """What `attention=auto` chose in an earlier process of this run."""
        return self._read_rows("attention.json", tuple[AttentionChoice, ...], "the choices are then made anew")

    def write_attention_choices(self, choices: Sequence[AttentionChoice]) -> None:
        """Keep what `attention=auto` chose, so that a resumed run computes as it began."""
        self._write("attention.json", [asdict(choice) for choice in choices])

    def read_lost(self) -> dict[str, str]:
        """The videos that an earlier process of this run could not read, and why."""
        return dict(self._read_rows("lost.json", tuple[tuple[str, str], ...], "they are then found again"))

    def write_lost(self, videos: Mapping[str, str]) -> None:
        """Keep the videos that could not be read, so that a resumed run tells of them too."""
        self._write("lost.json", list(videos.items()))

    def write_clips(self, samples: Clips | None, real: Clips) -> dict[str, str]:
        """Keep clips for the report; returns the files' names for the record."""
        kept = {"samples": samples, "real": real}
        for name, clips in kept.items():
            if clips:
                clips.save(self.path / f"{name}.npz")
        return {name: f"{name}.npz" for name, clips in kept.items() if clips}

    def write_step_samples(self, step: int, samples: Clips) -> None:
        """Keep clips that were drawn after so many steps, for the report."""
        samples.save(self.path / f"{STEP_FILE}{step}.npz")

    def step_samples(self) -> dict[str, str]:
        """The files of clips that were drawn on the way, by their names for the record."""
        steps = sorted(int(each.stem.removeprefix(STEP_FILE)) for each in self.path.glob(f"{STEP_FILE}*.npz"))
        return {f"{STEP_SAMPLES}{step}": f"{STEP_FILE}{step}.npz" for step in steps}

    def write_features(self, real: NDArray[np.float32], fake: NDArray[np.float32]) -> dict[str, str]:
        """Keep the features of every judged clip; returns the file's name for the record."""
        write_arrays(self.path / "features.npz", real=real, fake=fake)
        return {"features": "features.npz"}

    def write_record(self, record: Record) -> None:
        """Write the record, whole and on the disk, in place of an earlier one.

        Raises:
            StbenchError: the record is wrong, or the disk refused it; an earlier record is then untouched.
        """
        text = json.dumps(record.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_bytes(self.path / RECORD_NAME, text.encode())

    def _write(self, name: str, content: Any) -> None:
        write_sealed(self.path / name, {"run": self.path.name, "content": content})

    def _read(self, name: str, kind: type[T]) -> T | None:
        path = self.path / name
        if not path.exists():
            return None
        sealed = read_sealed(path)
        if sealed.get("run") != self.path.name:
            raise StbenchError(f"{path} is of another run, {sealed.get('run')}")
        adapter: Any = TypeAdapter(kind)
        try:
            return adapter.validate_python(sealed.get("content"))
        except ValidationError as error:
            raise StbenchError(f"{path} was written by another stbench: {first_line(error)}") from error

    def _read_rows(self, name: str, kind: type[tuple[T, ...]], without: str) -> tuple[T, ...]:
        try:
            return self._read(name, kind) or ()
        except StbenchError as error:
            raise StbenchError(f"{error}; delete it: {without}") from error
