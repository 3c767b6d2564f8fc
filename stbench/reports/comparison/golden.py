"""Loss curves of equal trainings: where everything that moves a training is equal, so is every loss.

On a CPU one computation gives itself again to the last digit. A curve that departs from its baseline tells of a change
of the code, and the step at which it does of which: the first tells of data, noise or initial weights, a later one of
the optimizer, or of rounding, which training makes much of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from stbench.errors import StbenchError
from stbench.records.schema import Record
from stbench.records.statistics import ROUNDING
from stbench.records.store import StoredRecord
from stbench.reports.comparison.conditions import obstacle
from stbench.reports.comparison.verdicts import CHANGED, NOT_COMPARABLE, SAME, UNDECIDED, Verdict
from stbench.reports.runs import read_file

METRIC = "loss curve"
WORST_FIRST = (CHANGED, UNDECIDED, NOT_COMPARABLE, SAME)


def judge_loss_curves(base: Sequence[StoredRecord], new: Sequence[StoredRecord], unread: list[str]) -> Verdict | None:
    """Compare the loss curves of runs of equal configuration; None where there are no such runs, or no curves.

    Args:
        base: one run a seed.
        new: the runs of the same seeds, in the same order.
        unread: gets a sentence for each curve that cannot be read.

    Returns:
        The verdict on the pair of runs whose curves are least alike.
    """
    verdicts = []
    for one, other in zip(base, new, strict=True):
        if _asked_alike(one.record, other.record):
            curves = [read_loss_curve(run, unread) for run in (one, other)]
            if curves[0] is not None and curves[1] is not None:
                verdicts.append(_of_pair(one.record, other.record, _departures(curves[0], curves[1])))
    return min(verdicts, key=lambda each: WORST_FIRST.index(each.verdict), default=None)


def read_loss_curve(run: StoredRecord, unread: list[str]) -> pd.Series | None:
    """The losses of a run by step; None where they are not beside the record.

    Args:
        run: a record and its folder.
        unread: gets the reason where it is there and cannot be read.
    """
    return read_file(run, run.record.training.loss_curve if run.record.training else None, _read_losses, unread)


def _read_losses(path: Path) -> pd.Series:
    try:
        return pd.read_csv(path, usecols=["step", "loss"], index_col="step")["loss"].astype(float)
    except (OSError, ValueError) as error:
        raise StbenchError(f"{path}: expected a CSV file with the columns step and loss: {error}") from error


def _asked_alike(one: Record, other: Record) -> bool:
    return one.config_hash == other.config_hash and one.finished and other.finished


def _departures(base: pd.Series, new: pd.Series) -> pd.Series:
    """The relative difference of two curves at each step that both have."""
    base, new = base.align(new, join="inner")
    apart = (base - new).abs()
    return (apart / np.maximum(base.abs(), new.abs())).where(apart > 0, 0.0)


def _of_pair(base: Record, new: Record, departures: pd.Series) -> Verdict:
    """The verdict on two runs of one configuration and seed."""
    losses = [record.training.loss_final if record.training else None for record in (base, new)]
    shown = Verdict(metric=METRIC, kind="golden", base=losses[0], new=losses[1], verdict=SAME)
    if reason := obstacle([base, new], "golden"):
        return replace(shown, verdict=NOT_COMPARABLE, reason=reason)
    if departures.empty:
        return replace(shown, verdict=NOT_COMPARABLE, reason="the curves have no step in common")
    largest, apart = float(departures.max()), departures[departures > 0]
    if apart.empty:
        return replace(shown, reason="equal in every digit")
    where = f"seed {base.config.get('seed')} departs at step {apart.index[0]:.0f}, by up to a share of {largest:.1g}"
    if largest <= ROUNDING:
        return replace(shown, reason=f"{where}: rounding")
    if base.conditions and base.conditions.device != "cpu":
        return replace(shown, verdict=UNDECIDED, reason=f"{where}; a GPU adds in no fixed order")
    return replace(shown, verdict=CHANGED, reason=where)
