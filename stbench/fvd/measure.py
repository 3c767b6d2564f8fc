"""`stbench fvd REAL FAKE`: distances between two sets of videos, stage after stage.

OUT/
  real_features.npz, fake_features.npz   one row per video; a later call takes them again when nothing has changed
  clips.webp, clips.png                  a few clips of both sides, real ones above
  fvd.json                               the outcome, with every video that was dropped and why
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stbench.data.clips import summarise_reasons
from stbench.data.spatial import check_spatial_rule
from stbench.errors import StbenchError, unknown_name
from stbench.fvd.extraction import compute_features
from stbench.fvd.frames import FRAME_DETECTOR, ChosenClips, assess_frames
from stbench.fvd.sides import (
    SIDES,
    Side,
    SideFeatures,
    check_conditions,
    clip_rule,
    load_features,
    open_side,
    still_valid,
)
from stbench.fvd.sources import ClipSource, FolderSource
from stbench.fvd.words import DEFAULT_PROTOCOL, describe_protocol, unsplit_preset
from stbench.metrics.detectors import Detector, build_detector
from stbench.metrics.frechet import frechet_distance
from stbench.metrics.kernel import MIN_SAMPLES, kernel_distance
from stbench.metrics.quality import assess
from stbench.progress import console
from stbench.records.clips import Clips
from stbench.records.protocol import OFFSET_RULES, Protocol
from stbench.records.sections import Quality
from stbench.reports.media import COLUMNS, make_sheet
from stbench.runtime.device import choose_device
from stbench.runtime.machine import describe_machine, software_versions
from stbench.runtime.processes import is_first
from stbench.settings.options import FvdOptions
from stbench.storage.files import write_json

# Where a protocol leaves it open and no kept features say otherwise.
_NUM_FRAMES = 16
_FRAME_STRIDE = 1


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison.

    Attributes:
        quality: as in a record: the distances with their protocol, see `assess`.
        control: fvd_shuffled and kvd_shuffled, the distances when the frames of the generated clips are shuffled: no
            higher than without, and this detector does not see motion in these clips. None where not measured.
        frames: how the single frames of the same clips compare, see `assess_frames`. None where not asked for.
        real: the real side.
        fake: the generated side.
        preset: the protocol's name, with the fields that were changed.
    """

    quality: Quality
    control: dict[str, float | None] | None
    frames: dict[str, Any] | None
    real: SideFeatures
    fake: SideFeatures
    preset: str

    @property
    def refusal(self) -> str | None:
        """Why there is no FVD, and what to ask for instead, or None."""
        got, asked = self.quality.n_fake, self.quality.protocol.num_fake
        hint = f"; protocol.num_fake={got} asks for as many as there are" if got < asked else ""
        return self.quality.refused and self.quality.refused + hint

    def to_json(self) -> dict[str, Any]:
        """All but the features, as JSON knows it."""
        return {
            "preset": self.preset,
            "quality": asdict(self.quality),
            "control": self.control,
            "frames": self.frames,
            "real": self.real.describe(),
            "fake": self.fake.describe(),
            "seeds": {name: getattr(self.quality.protocol, name) for name in ("clip_seed", "sampling_seed")},
            "machine": asdict(describe_machine()),
            "software": asdict(software_versions()),
        }


def measure(
    real: str | Path, fake: str | Path, protocol: Protocol | str = DEFAULT_PROTOCOL, options: FvdOptions | None = None
) -> Outcome:
    """Compare generated videos with real ones.

    Args:
        real: a folder of videos or of folders of frames, an .npz file of clips, or features kept by an earlier call.
        fake: the same for the generated ones.
        protocol: how; the name of a preset, or a protocol of your own. What it leaves open is filled in: 16 frames,
            stride 1, the resolution of the generated videos.
        options: how the work is done.

    Raises:
        StbenchError: nothing to compare, or something that cannot be done as the protocol says.
        NotComparable: kept features that were made under another protocol.
    """
    options = options or FvdOptions()
    asked = unsplit_preset(protocol) if isinstance(protocol, str) else protocol
    sides = {name: open_side(path, options.num_workers) for name, path in zip(SIDES, (real, fake), strict=True)}
    frame_detector = _build_frame_detector(sides, options)
    detector = _build_detector(asked, sides, options)
    filled = _filled_in(asked, sides, detector)
    if options.out is not None:
        _make_folder(options.out, sides)
    done = {name: _side_features(side, detector, filled, name, options) for name, side in sides.items()}
    final = _told_by_sides(filled, **done)
    quality = assess(final, done["real"].features, done["fake"].features)
    frames = _compare_frames(frame_detector, sides, done, final, options.batch_size)
    outcome = Outcome(quality, _control(quality, **done), frames, **done, preset=describe_protocol(asked))
    if options.out is not None and is_first():
        write_json(options.out / "fvd.json", outcome.to_json())
        _write_sheet(outcome, sides, final, options.out)
    return outcome


def _make_folder(out: Path, sides: dict[str, Side]) -> None:
    for side in sides.values():
        if isinstance(side, FolderSource) and out.resolve().is_relative_to(side.path.resolve()):
            raise StbenchError(f"--out {out} lies in {side.path}: what is written there would be taken for videos")
    out.mkdir(parents=True, exist_ok=True)


def _build_frame_detector(sides: dict[str, Side], options: FvdOptions) -> Detector | None:
    """The detector of single frames where they are asked for; kept features of clips do not tell of them."""
    if not options.frames:
        if options.frame_weights is not None:
            raise StbenchError(f"--frame-weights {options.frame_weights}: expected --frames with it")
        return None
    for side in sides.values():
        if isinstance(side, SideFeatures):
            raise StbenchError(f"{side.file}: --frames looks at the frames, and this holds features of clips: "
                               f"expected the videos themselves, which lay in {side.origin}")  # fmt: skip
    return build_detector(FRAME_DETECTOR, options.frame_weights, device=choose_device(options.device))


def _build_detector(protocol: Protocol, sides: dict[str, Side], options: FvdOptions) -> Detector | None:
    """The protocol's detector; None when all features are there already."""
    if all(isinstance(side, SideFeatures) for side in sides.values()):
        return None
    weights, preprocessing = options.weights, protocol.preprocessing or None
    return build_detector(protocol.detector, weights, preprocessing, choose_device(options.device))


def _filled_in(protocol: Protocol, sides: dict[str, Side], detector: Detector | None) -> Protocol:
    """The protocol with what it leaves open: by the detector, by kept features, by the generated videos, by default."""
    kept = {name: side.conditions for name, side in sides.items() if isinstance(side, SideFeatures)}
    known = {field: value for conditions in kept.values() for field, value in conditions.items()}
    identity = detector or _Identity(known)
    filled = replace(
        protocol,
        preprocessing=protocol.preprocessing or identity.preprocessing,
        feature_dim=identity.feature_dim,
        detector_weights_sha256=identity.weights_sha256,
        num_frames=protocol.num_frames or known.get("num_frames", _NUM_FRAMES),
        frame_stride_real=protocol.frame_stride_real or kept.get("real", {}).get("frame_stride", _FRAME_STRIDE),
        resolution=protocol.resolution or known.get("resolution") or _short_side(sides["fake"]),
    )
    _check(filled, detector)
    return filled


class _Identity:
    """What a detector says of itself, from kept features."""

    def __init__(self, conditions: dict[str, Any]) -> None:
        self.preprocessing: str = conditions["preprocessing"]
        self.feature_dim: int = conditions["feature_dim"]
        self.weights_sha256: str = conditions["detector_weights_sha256"]


def _short_side(side: Side) -> int:
    return side.short_side() if isinstance(side, ClipSource) else side.conditions["resolution"]


def _check(protocol: Protocol, detector: Detector | None) -> None:
    """Refuse what this command cannot do."""
    check_spatial_rule(protocol.spatial_rule, "protocol.spatial_rule")
    for name in ("offset_rule", "offset_rule_fake"):
        if getattr(protocol, name) not in OFFSET_RULES:
            raise unknown_name(f"protocol.{name}", getattr(protocol, name), OFFSET_RULES)
    if detector is None:
        return
    if detector.per_frame:
        raise StbenchError(f"protocol.detector={detector.name} judges single frames, and a protocol whole clips: "
                           f"expected a detector of clips; --frames adds the FID by {FRAME_DETECTOR}")  # fmt: skip
    assert protocol.num_frames
    detector.check_num_frames(protocol.num_frames, "protocol.num_frames")


def _side_features(
    side: Side, detector: Detector | None, protocol: Protocol, name: str, options: FvdOptions
) -> SideFeatures:
    """Features of a side: given, kept by an earlier call, or computed now (and kept)."""
    asked = protocol.num_real if name == "real" else protocol.num_fake
    if isinstance(side, SideFeatures):
        check_conditions(side, protocol, name)
        return side.first(asked)
    assert detector is not None
    control = not options.no_control and name == "fake"
    path = None if options.out is None else options.out / f"{name}_features.npz"
    if path and path.is_file() and still_valid(kept := load_features(path), side, protocol, name, asked, control):
        console().print(f"{path}: nothing has changed, taken again")
        return kept
    found = compute_features(
        side, detector, protocol, name, asked=asked, batch_size=options.batch_size, control=control
    )
    if not len(found.features):
        why = summarise_reasons(video.reason for video in found.dropped)
        raise StbenchError(f"{side.path}: none of {found.found} videos can be used: {why}")
    if path and is_first():
        found.save(path)
    return found


def _told_by_sides(protocol: Protocol, real: SideFeatures, fake: SideFeatures) -> Protocol:
    """The protocol with what only the clips tell: content, storage, and the number of real ones where there are fewer.

    Real videos are as many as there are, and StyleGAN-V's rule is "all if fewer"; the number is then part of the
    protocol and of its hash. Generated ones can be made until there are enough.
    """
    count = protocol.num_real
    if count is not None and len(real.features) < count:
        count = len(real.features)
        console().print(f"{count} real videos, fewer than the protocol's {protocol.num_real}: all are taken, "
                        f"and the protocol of this figure says num_real={count}")  # fmt: skip
    return replace(
        protocol,
        num_real=count,
        dataset_manifest_sha256=real.manifest_sha256,
        storage=f"real: {real.storage}; generated: {fake.storage}",
    )


def _control(quality: Quality, real: SideFeatures, fake: SideFeatures) -> dict[str, float | None] | None:
    """The distances to the generated clips with their frames shuffled."""
    if fake.shuffled is None:
        return None
    enough = min(len(real.features), len(fake.shuffled)) >= MIN_SAMPLES
    return {
        "fvd_shuffled": None if quality.fvd is None else frechet_distance(real.features, fake.shuffled),
        "kvd_shuffled": kernel_distance(real.features, fake.shuffled).distance if enough else None,
    }


def _compare_frames(
    detector: Detector | None,
    sides: dict[str, Side],
    done: dict[str, SideFeatures],
    protocol: Protocol,
    batch_size: int,
) -> dict[str, Any] | None:
    """Compare the single frames of the very clips that were measured, if that was asked for."""
    if detector is None:
        return None
    clips = {}
    for name, side in sides.items():
        assert isinstance(side, ClipSource)  # others were refused with `_build_frame_detector`
        clips[name] = ChosenClips(side, done[name].video_ids, clip_rule(protocol, name))
    return assess_frames(detector, **clips, batch_size=batch_size)


def _write_sheet(outcome: Outcome, sides: dict[str, Side], protocol: Protocol, out: Path) -> None:
    """Write a few clips of each side whose videos are there: the first that were chosen, real ones above."""
    rows = []
    for name, side in sides.items():
        if isinstance(side, ClipSource):
            ids = (outcome.real if name == "real" else outcome.fake).video_ids[:COLUMNS]
            clips = [each.clip for each in side.readings(ids, clip_rule(protocol, name)) if each.clip is not None]
            rows += [*clips, *[np.zeros_like(clips[0])] * (COLUMNS - len(clips))]
    if rows:
        sheet = make_sheet(Clips(np.stack(rows), np.zeros(len(rows), np.int64)))
        (out / "clips.webp").write_bytes(sheet.webp)
        (out / "clips.png").write_bytes(sheet.still)
