"""A run watched while it trains: `track=tensorboard | wandb | mlflow`, through the trackers of accelerate.

The record stays the only truth. A tracker is told what the run writes down anyway, and one that fails on the way is
left behind with a warning: it never costs a run. TensorBoard's and Weights & Biases' files lie in the run's folder,
MLflow's database beside it, for all runs of a folder, unless MLFLOW_TRACKING_URI names a server. WANDB_MODE=offline
keeps Weights & Biases off the network.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stbench.errors import StbenchError, first_line
from stbench.progress import say
from stbench.records.schema import flatten
from stbench.settings.schema import RunConfig

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

PROJECT = "stbench"  # of Weights & Biases, experiment of MLflow
FOLDER = "tracking"  # in the run's
# What accelerate builds each from, and the module that it needs.
TRACKERS = {
    "tensorboard": ("TensorBoardTracker", "tensorboard"),
    "wandb": ("WandBTracker", "wandb"),
    "mlflow": ("MLflowTracker", "mlflow"),
}
Log = Callable[[Mapping[str, float | None], int], None]
"""Called with figures by name and the step that they belong to; a figure that is None is left out."""


@contextlib.contextmanager
def tracked(config: RunConfig, folder: Path) -> Iterator[Log]:
    """Tell the tracker of `config.settings.track`, where there is one, of what is logged within.

    Args:
        config: prepared; its values are the tracker's hyperparameters.
        folder: of the run, whose name is the name of the tracked run.

    Raises:
        StbenchError: the tracker is not installed, or does not start.
    """
    name = config.settings.track
    if name == "off":
        yield lambda figures, step: None
        return
    tracker = _started(name, config, folder)
    log = _Log(name, tracker)
    try:
        yield log
    finally:
        log.told(tracker.finish)


class _Log:
    """Hands figures on to a tracker until it fails."""

    def __init__(self, name: str, tracker: GeneralTracker) -> None:
        self.name, self.tracker, self.failed = name, tracker, False

    def __call__(self, figures: Mapping[str, float | None], step: int) -> None:
        known = {name: value for name, value in figures.items() if value is not None}
        if known:
            self.told(lambda: self.tracker.log(known, step=step))

    def told(self, tell: Callable[[], object]) -> None:
        """Call what may fail, once it has failed no more."""
        if self.failed:
            return
        try:
            tell()
        except Exception as error:  # whatever a tracker's network, disk or server raises
            self.failed = True
            say(f"warning: track={self.name} failed and is left behind: {first_line(error)}")


def _started(name: str, config: RunConfig, folder: Path) -> GeneralTracker:
    tracker_class, package = TRACKERS[name]
    for needed in ("accelerate", package):
        if importlib.util.find_spec(needed) is None:
            raise StbenchError(f"track={name} needs {needed}: pip install 'stbench[track]'")
    from accelerate import PartialState, tracking

    PartialState()  # trackers ask it which process they are in
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    try:
        tracker: GeneralTracker = getattr(tracking, tracker_class)(**_arguments(name, config, folder))
        tracker.start()
        tracker.store_init_configuration(_hyperparameters(config))
    except Exception as error:
        raise StbenchError(f"track={name} does not start: {first_line(error)}") from error
    return tracker


def _arguments(name: str, config: RunConfig, folder: Path) -> dict[str, Any]:
    """What accelerate's tracker takes; a resumed run goes on under its name, in MLflow as a second run of it."""
    if name == "tensorboard":
        return {"run_name": folder.name, "logging_dir": str(folder / FOLDER)}
    if name == "wandb":
        identity = {"id": config.config_hash[:16], "name": folder.name, "resume": "allow"}
        return {"run_name": PROJECT, "dir": str(folder / FOLDER), **identity}
    if "MLFLOW_TRACKING_URI" not in os.environ:
        importlib.import_module("mlflow").set_tracking_uri(f"sqlite:///{folder.resolve().parent / 'mlflow.db'}")
    return {"experiment_name": PROJECT, "run_name": folder.name, "tags": {"config_hash": config.config_hash}}


def _hyperparameters(config: RunConfig) -> dict[str, str | float | int | bool]:
    """The configuration as every tracker takes it: flat, each value a text or a number."""
    flat = flatten(config.to_dict())
    return {key: value if isinstance(value, str | int | float) else str(value) for key, value in flat.items()}
