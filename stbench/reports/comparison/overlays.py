"""Curves of a baseline and a candidate over each other, and their samples side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stbench.records.store import StoredRecord
from stbench.reports.context import context_of
from stbench.reports.curves import plots_over_training
from stbench.reports.plots import Plot
from stbench.reports.runs import PALETTE
from stbench.reports.samples import SAMPLES, Kept, SampleGrid, sample_grid
from stbench.reports.seed_bands import BAND

BASE, NEW = "base", "new"
COLOURS = dict(zip((BASE, NEW), PALETTE, strict=False))


@dataclass(frozen=True)
class Overlay:
    """The pictures of one configuration, none of what its runs did not keep, and why files of theirs cannot be read."""

    plots: list[Plot]
    samples: SampleGrid | None
    unread: list[str]


def overlay(name: str, base: Sequence[StoredRecord], new: Sequence[StoredRecord]) -> Overlay:
    """Draw the runs of both sides; curves share a plot only where they were measured under one protocol.

    Args:
        name: of the configuration, for titles and the names of files; "" where it is the only one.
        base: one run a seed.
        new: the runs of the same seeds.
    """
    unread: list[str] = []
    labelled = [*((BASE, run) for run in base), *((NEW, run) for run in new)]
    caption = f"{BAND} {context_of([run.record for _, run in labelled])}"
    kept = [Kept(label, run) for label, run in labelled if SAMPLES in run.record.files]
    return Overlay(
        list(plots_over_training(labelled, COLOURS, name, caption, unread)),
        sample_grid(name or SAMPLES, kept, {BASE, NEW}, unread),
        unread,
    )
