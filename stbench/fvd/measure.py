"""`stbench fvd REAL FAKE`: distances between two sets of videos, stage after stage.

OUT/
  real_features.npz, fake_features.npz   one row per video; a later call takes them again when nothing has changed
  clips.webp, clips.png                  a few clips of both sides, real ones above
  fvd.json                               the outcome, with every video that was dropped and why
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from stbench.data.clips import summarise_reasons
from stbench.data.spatial import check_spatial_rule
from stbench.errors import StbenchError, unknown_name
from stbench.fvd.extraction import compute_features
from stbench.fvd.frames import FRAME_DETECTOR, ChosenClips, FrameQuality, assess_frames
from stbench.fvd.sides import (
    KEPT_FEATURES,
    Pair,
    Side,
    SideFeatures,
    check_conditions,
    clip_rule,
    load_features,
    open_side,
    still_valid,
)
from stbench.fvd.sources import ClipSource, FolderSource
from stbench.fvd.words import DEFAULT_PROTOCOL, describe_protocol, named_protocol
from stbench.metrics.detectors import Detector, build_detector, try_detector
from stbench.metrics.frechet import frechet_distance
from stbench.metrics.kernel import MIN_CLIPS_FOR_KERNEL, kernel_distance
from stbench.metrics.protocol import ClipFacts, DetectorFacts, filled_in
from stbench.metrics.quality import assess, refusal
from stbench.progress import say
from stbench.records.protocol import OFFSET_RULES, OPEN, Protocol, SideName
from stbench.records.sections import Quality
from stbench.reports.media import COLUMNS, make_sheet
from stbench.runtime.device import choose_device
from stbench.runtime.machine import describe_machine, software_versions
from stbench.runtime.processes import is_first
from stbench.settings.options import FvdOptions
from stbench.storage.clips import Clips
from stbench.storage.files import check_folder, write_bytes, write_json

# Where a protocol leaves it open and no kept features say otherwise.
_NUM_FRAMES = 16
_FRAME_STRIDE = 1


@dataclass(frozen=True)
class ShuffledControl:
    """The distances when the frames of the generated clips are shuffled, None with too few clips.

    No higher than without, and this detector does not see motion in these clips.
    """

    fvd_shuffled: float | None
    kvd_shuffled: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a comparison."""

    quality: Quality  # as in a record: the distances with their protocol
    control: ShuffledControl | None  # None where not measured
    frames: FrameQuality | None  # how the single frames of the same clips compare; None where not asked for
    real: SideFeatures
    fake: SideFeatures
    protocol_name: str  # with the fields that were changed

    @property
    def refusal(self) -> str | None:
        """Why there is no FVD, and what to ask for instead, or None."""
        quality, got = self.quality, self.quality.n_fake
        fewer = replace(quality.protocol, num_fake=got)
        helps = got < quality.protocol.num_fake and not refusal(fewer, quality.n_real, got)
        hint = f"; protocol.num_fake={got} asks for as many as there are" if helps else ""
        return self.quality.refused and self.quality.refused + hint

    def to_dict(self) -> dict[str, Any]:
        """All but the features, as JSON knows it."""
        return {
            "protocol_name": self.protocol_name,
            "quality": asdict(self.quality),
            "control": self.control and asdict(self.control),
            "frames": self.frames and asdict(self.frames),
            "real": self.real.to_dict(),
            "fake": self.fake.to_dict(),
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
        protocol: how; a name, or a protocol of your own. What it leaves open is filled in: 16 frames,
            stride 1, the resolution of the generated videos.
        options: how the work is done.

    Raises:
        StbenchError: nothing to compare, or something that cannot be done as the protocol says.
        NotComparable: kept features that were made under another protocol.
    """
    options = options or FvdOptions()
    asked = named_protocol(protocol) if isinstance(protocol, str) else protocol
    sides = Pair(open_side(real, options.num_workers), open_side(fake, options.num_workers))
    # Whatever is missing is said before a folder is made or a video is read.
    frame_detector = _build_frame_detector(sides, options)
    detector = None
    if isinstance(sides.real, ClipSource) or isinstance(sides.fake, ClipSource):
        named = None if asked.preprocessing is OPEN else asked.preprocessing
        detector = build_detector(asked.detector, options.weights, named, choose_device(options.device))
    filled = _filled_in(asked, sides, detector)
    _check(filled, detector)
    if options.out is not None:
        _make_folder(options.out, sides)

    done = Pair(
        _side_features(sides.real, detector, filled, "real", options),
        _side_features(sides.fake, detector, filled, "fake", options),
    )
    final = _told_by_clips(filled, done)
    quality = assess(final, done.real.features, done.fake.features)
    outcome = Outcome(
        quality=quality,
        control=_control(quality.fvd is not None, done),
        frames=_compare_frames(frame_detector, sides, done, final, options.batch_size),
        real=done.real,
        fake=done.fake,
        protocol_name=describe_protocol(asked),
    )
    if options.out is not None and is_first():
        write_json(options.out / "fvd.json", outcome.to_dict())
        _write_sheet(sides, done, final, options.out)
    return outcome


def _make_folder(out: Path, sides: Pair[Side]) -> None:
    for _, side in sides.named():
        if isinstance(side, FolderSource) and out.resolve().is_relative_to(side.path.resolve()):
            raise StbenchError(f"--out {out} lies in {side.path}: what is written there would be taken for videos")
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)


def _build_frame_detector(sides: Pair[Side], options: FvdOptions) -> Detector | None:
    """The detector of single frames where they are asked for; kept features of clips do not tell of them."""
    if not options.frames:
        if options.frame_weights is not None:
            raise StbenchError(f"--frame-weights {options.frame_weights}: expected --frames with it")
        return None
    for _, side in sides.named():
        if isinstance(side, SideFeatures):
            raise StbenchError(
                f"{side.file}: --frames looks at the frames, and this holds features of clips: "
                f"expected the videos themselves, which lay in {side.origin}"
            )
    return build_detector(FRAME_DETECTOR, options.frame_weights, device=choose_device(options.device))


def _filled_in(protocol: Protocol, sides: Pair[Side], detector: Detector | None) -> Protocol:
    """The protocol with what it leaves open: by the detector, by kept features, by the generated videos, by default.

    The manifest of the real clips stays open until they have been read.
    """
    kept = Pair(*(side.conditions if isinstance(side, SideFeatures) else {} for _, side in sides.named()))
    known = kept.real | kept.fake
    if detector is not None:
        facts = detector.facts
    else:
        facts = DetectorFacts(**{declared.name: known[declared.name] for declared in fields(DetectorFacts)})
        if protocol.preprocessing is not OPEN:  # other features than asked for are refused later
            facts = replace(facts, preprocessing=protocol.preprocessing)

    # What the protocol says, else what kept features say, else the videos' own size and the defaults of this command.
    clips = {"num_frames": _NUM_FRAMES, "frame_stride_real": _FRAME_STRIDE}
    clips |= {name: known[name] for name in ("num_frames", "resolution") if name in known}
    clips |= {"frame_stride_real": kept.real["frame_stride"]} if kept.real else {}
    clips |= {name: value for name in (*clips, "resolution") if (value := getattr(protocol, name)) is not OPEN}
    if "resolution" not in clips:
        assert isinstance(sides.fake, ClipSource)
        clips["resolution"] = sides.fake.short_side()
    return filled_in(
        protocol,
        detector=facts,
        clips=ClipFacts(
            **clips,
            spatial_rule=protocol.spatial_rule,
            dataset=None if protocol.dataset is OPEN else protocol.dataset,
            dataset_manifest_sha256=OPEN,
            dataset_code_sha256=None,
            split=protocol.split,
        ),
    )


def _check(protocol: Protocol, detector: Detector | None) -> None:
    """Refuse what this command cannot do."""
    check_spatial_rule(protocol.spatial_rule, "protocol.spatial_rule")
    for name in ("offset_rule", "offset_rule_fake"):
        if getattr(protocol, name) not in OFFSET_RULES:
            raise unknown_name(f"protocol.{name}", getattr(protocol, name), OFFSET_RULES)
    if detector is None:
        return
    if detector.per_frame:
        raise StbenchError(
            f"protocol.detector={detector.name} judges single frames, and a protocol whole clips: "
            f"expected a detector of clips; --frames adds the FID by {FRAME_DETECTOR}"
        )
    detector.check_num_frames(protocol.num_frames, "protocol.num_frames")
    try_detector(detector, protocol.num_frames, protocol.resolution)


def _side_features(
    side: Side, detector: Detector | None, protocol: Protocol, name: SideName, options: FvdOptions
) -> SideFeatures:
    """Features of a side: given, kept by an earlier call, or computed now (and kept)."""
    asked = protocol.side(name).num_clips
    if isinstance(side, SideFeatures):
        check_conditions(side, protocol, name)
        return side.first(asked)
    assert detector is not None
    control = not options.no_control and name == "fake"
    path = None if options.out is None else options.out / KEPT_FEATURES.format(name)
    if path and path.is_file() and still_valid(kept := load_features(path), side, protocol, name, control):
        say(f"{path}: nothing has changed, taken again")
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


def _told_by_clips(protocol: Protocol, done: Pair[SideFeatures]) -> Protocol:
    """The protocol with what only the clips tell: content, storage, and the number of real ones where there are fewer.

    Real videos are as many as there are, and StyleGAN-V's rule is "all if fewer"; the number is then part of the
    protocol and of its hash. Generated ones can be made until there are enough.
    """
    count = protocol.num_real
    if count is not None and len(done.real.features) < count:
        count = len(done.real.features)
        say(
            f"{count} real videos, fewer than the protocol's {protocol.num_real}: all are taken, "
            f"and the protocol of this figure says num_real={count}"
        )
    return replace(
        protocol,
        num_real=count,
        dataset_manifest_sha256=done.real.manifest_sha256,
        storage=f"real: {done.real.storage}; generated: {done.fake.storage}",
    )


def _control(has_fvd: bool, done: Pair[SideFeatures]) -> ShuffledControl | None:
    """The distances to the generated clips with their frames shuffled."""
    real, shuffled = done.real.features, done.fake.shuffled
    if shuffled is None:
        return None
    enough = min(len(real), len(shuffled)) >= MIN_CLIPS_FOR_KERNEL
    return ShuffledControl(
        fvd_shuffled=frechet_distance(real, shuffled) if has_fvd else None,
        kvd_shuffled=kernel_distance(real, shuffled).distance if enough else None,
    )


def _compare_frames(
    detector: Detector | None, sides: Pair[Side], done: Pair[SideFeatures], protocol: Protocol, batch_size: int
) -> FrameQuality | None:
    """Compare the single frames of the very clips that were measured, if that was asked for."""
    if detector is None:
        return None
    assert isinstance(sides.real, ClipSource)  # others were refused with `_build_frame_detector`
    assert isinstance(sides.fake, ClipSource)
    real = ChosenClips(sides.real, done.real.video_ids, clip_rule(protocol, "real"))
    fake = ChosenClips(sides.fake, done.fake.video_ids, clip_rule(protocol, "fake"))
    return assess_frames(detector, real, fake, batch_size)


def _write_sheet(sides: Pair[Side], done: Pair[SideFeatures], protocol: Protocol, out: Path) -> None:
    """Write a few clips of each side whose videos are there: the first that were chosen, real ones above."""
    rows = []
    for (name, side), (_, features) in zip(sides.named(), done.named(), strict=True):
        if isinstance(side, ClipSource):
            readings = side.readings(features.video_ids[:COLUMNS], clip_rule(protocol, name))
            clips = [each.clip for each in readings if each.clip is not None]
            rows += [*clips, *[np.zeros_like(clips[0])] * (COLUMNS - len(clips))]
    if rows:
        sheet = make_sheet(Clips(np.stack(rows), np.zeros(len(rows), np.int64)))
        write_bytes(out / "clips.webp", sheet.webp)
        write_bytes(out / "clips.png", sheet.still)
