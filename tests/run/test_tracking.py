"""What trackers are told, each of them without a network."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from stbench.errors import StbenchError
from stbench.run import stages
from stbench.run.setup import prepare
from stbench.run.tracking import TRACKERS, tracked
from stbench.settings import schema
from stbench.settings.resolve import resolve
from stbench.settings.schema import RunConfig

WORDS = {"variant": "latte1", "dataset": "shapes", "preset": "smoke", "device": "cpu"}
LOSSES = {1: 0.5, 2: 0.25}


@pytest.fixture
def config() -> RunConfig:
    return prepare(resolve(WORDS)).config


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def tracking(config: RunConfig, name: str) -> RunConfig:
    return dataclasses.replace(config, settings=dataclasses.replace(config.settings, track=name))


def scalars_of_tensorboard(folder: Path) -> dict[int, float]:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    [events] = {path.parent for path in folder.glob("tracking/*/events*")}
    read = reader.EventAccumulator(str(events))
    read.Reload()
    return {event.step: event.value for event in read.Scalars("train/loss")}


def scalars_of_mlflow(folder: Path) -> dict[int, float]:
    with closing(sqlite3.connect(folder.parent / "mlflow.db")) as database:
        return dict(database.execute("select step, value from metrics where key = 'train/loss'"))


def scalars_of_wandb(folder: Path) -> dict[int, float]:
    records = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    [path] = folder.glob("tracking/wandb/offline-run-*/*.wandb")
    data, place, found = path.read_bytes(), 7, {}  # behind the file's head
    while place + 7 < len(data):  # a log of LevelDB: checksum, length, kind, and here never two blocks
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        record = records.Record.FromString(data[place + 7 : place + 7 + length])
        items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
        if "train/loss" in items:
            found[record.history.step.num] = float(items["train/loss"])
        place += 7 + length
    return found


READERS: dict[str, Callable[[Path], dict[int, float]]] = {
    "tensorboard": scalars_of_tensorboard,
    "wandb": scalars_of_wandb,
    "mlflow": scalars_of_mlflow,
}


def test_the_setting_knows_every_tracker() -> None:
    assert tuple(TRACKERS) == schema.TRACKERS == tuple(READERS)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_keeps_what_it_is_told(name: str, config: RunConfig, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    folder = tmp_path / "run"
    with tracked(tracking(config, name), folder) as log:
        for step, loss in LOSSES.items():
            log({"train/loss": loss, "train/absent": None}, step)
    deadline = time.monotonic() + 60
    while (found := READERS[name](folder)) != LOSSES and time.monotonic() < deadline:
        time.sleep(0.2)  # wandb writes in a process of its own, which may go on for a moment
    assert found == LOSSES


def test_without_a_tracker_nothing_is_written(config: RunConfig, tmp_path: Path) -> None:
    with tracked(config, tmp_path / "run") as log:
        log({"train/loss": 1.0}, 1)
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_not_installed_is_refused(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StbenchError, match=r"track=wandb needs accelerate: pip install 'stbench\[track\]'"):
        tracked(tracking(config, "wandb"), tmp_path / "run").__enter__()


def test_a_tracker_that_fails_is_left_behind(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trackers = pytest.importorskip("accelerate.tracking")

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host\nmore of it")

    monkeypatch.setattr(trackers.TensorBoardTracker, "log", fail)
    with tracked(tracking(config, "tensorboard"), tmp_path / "run") as log:
        log({"train/loss": 1.0}, 1)
        log({"train/loss": 1.0}, 2)
    told = capsys.readouterr().err
    assert told.count("track=tensorboard failed and is left behind: no route to host") == 1
    assert "more of it" not in told


def test_a_run_tells_its_steps_and_its_quality(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = stages.run(resolve(WORDS | {"track": "tensorboard", "eval.num_clips": 40}), tmp_path)
    [events] = {path.parent for path in folder.glob("tracking/*/events*")}
    read = reader.EventAccumulator(str(events))
    read.Reload()
    assert [event.step for event in read.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert "quality/kvd" in read.Tags()["scalars"]
