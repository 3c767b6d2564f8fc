"""The figures that networks are compared by: the one list for claims, sweeps, comparisons and tables."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from stbench.errors import unknown_name
from stbench.records.schema import Record, value_at
from stbench.records.sections import Cost

Kind = Literal["exact", "golden", "timing", "memory", "quality", "validation"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of a run.

    Attributes:
        name: what it is called in claims and on the command line.
        title: what it is called in tables, with its unit.
        path: where it stands in a record.
        kind: how two of them are compared: counts exactly, times and memory under equal conditions, quality under one
            protocol and validation losses of one validation protocol beyond the noise between training seeds.
        less_is_better: None for what is neither good nor bad.
        positive: never zero or below, so that two are held against each other as a ratio; else as a difference.
        share: from 0 to 1, as a cosine here, so that a difference is in points.
        scale: from the record's unit to the title's.
    """

    name: str
    title: str
    path: str
    kind: Kind
    less_is_better: bool | None = True
    positive: bool = True
    share: bool = False
    scale: float = 1.0

    def of(self, record: Record | Cost) -> float | None:
        """The figure of a run, or of a network that was only counted, in the title's unit; None without a figure."""
        value = value_at(record, self.path)
        return None if value is None else self.scale * float(value)

    def heading(self, record: Record) -> str:
        """The title, with the detector where the figure is of one."""
        return f"{self.title}[{record.detector}]" if self.name in OF_DETECTOR and record.detector else self.title

    def condition(self, record: Record) -> Hashable:
        """What must be equal in the records of two runs before their figures are compared."""
        if self.kind == "quality":
            return record.quality and record.quality.protocol_hash
        if self.kind == "validation":
            return record.validation and record.validation.protocol_hash
        return record.conditions and record.conditions.but_load if self.kind in ("timing", "memory") else None

    def curve(self, record: Record) -> tuple[tuple[int, float], ...]:
        """Steps of training and the figure after each, as far as they were measured as the final one was."""
        if self.name == VALIDATION_LOSS and record.validation:
            return tuple((point.step, point.loss) for point in record.validation.curve)
        if self.name == "fvd" and record.quality:
            own = record.quality.protocol_hash
            return tuple((point.step, point.fvd) for point in record.quality.curve if point.protocol_hash == own)
        return ()


def _share(name: str, title: str, path: str) -> Measure:
    return Measure(name=name, title=title, path=path, kind="quality", less_is_better=False, positive=False, share=True)


VALIDATION_LOSS = "validation_loss"  # what arms are compared by unless another figure is asked for
OF_DETECTOR = ("fvd", "fvd_inf", "kvd", "mmd", "class_agreement")
MEASURES = {
    each.name: each
    for each in (
        Measure(name=VALIDATION_LOSS, title="validation loss", path="validation.loss", kind="validation"),
        Measure(name="fvd", title="FVD", path="quality.fvd", kind="quality"),
        Measure(name="fvd_inf", title="FVD∞", path="quality.fvd_inf", kind="quality", positive=False),
        Measure(name="kvd", title="KVD", path="quality.kvd", kind="quality", positive=False),
        Measure(name="mmd", title="MMD", path="quality.mmd", kind="quality", positive=False),
        # By how much a clip's frames grow less alike with depth: the paper holds it against stacked arrangements.
        Measure(
            name="similarity_fall",
            title="fall of the frames' similarity",
            path="diagnostics.similarity_fall",
            kind="validation",
            positive=False,
            share=True,
        ),
        _share("precision", "precision", "quality.precision"),
        _share("recall", "recall", "quality.recall"),
        _share("class_agreement", "class agreement", "quality.class_agreement"),
        _share("motion_direction", "direction of motion", "quality.motion.direction"),
        _share("motion_speed", "speed of motion", "quality.motion.speed"),
        _share("motion_color", "constancy of colour", "quality.motion.color"),
        _share("motion_shape", "constancy of shape", "quality.motion.shape"),
        _share("motion_all", "motion score", "quality.motion.all"),
        Measure(
            name="psnr_db",
            title="PSNR (dB)",
            path="quality.fidelity.psnr_db",
            kind="quality",
            less_is_better=False,
            positive=False,
        ),
        _share("ssim", "SSIM", "quality.fidelity.ssim"),
        Measure(name="lpips", title="LPIPS", path="quality.fidelity.lpips", kind="quality", positive=False),
        Measure(name="params", title="parameters (M)", path="counts.params_total", kind="exact", scale=1e-6),
        Measure(
            name="params_trainable",
            title="trainable parameters (M)",
            path="counts.params_trainable",
            kind="exact",
            scale=1e-6,
        ),
        Measure(name="gmacs", title="GMACs", path="counts.gmacs", kind="exact"),
        Measure(name="gflops", title="GFLOPs", path="counts.gflops", kind="exact"),
        Measure(
            name="thop_batch3",
            title="operations by thop, three clips (G)",
            path="counts.conventions.thop_batch3",
            kind="exact",
        ),
        Measure(name="forward_ms", title="forward (ms)", path="timing.forward.median", kind="timing", scale=1e3),
        Measure(
            name="train_step_ms", title="train step (ms)", path="timing.train_step.median", kind="timing", scale=1e3
        ),
        Measure(name="memory_mib", title="peak memory (MiB)", path="memory.peak_mib", kind="memory"),
    )
}


def get_measure(name: str) -> Measure:
    """The measure of that name.

    Raises:
        StbenchError: there is none; with the nearest.
    """
    if name not in MEASURES:
        raise unknown_name("measure", name, MEASURES)
    return MEASURES[name]
