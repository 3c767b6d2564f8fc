"""What `stbench fvd` prints, for people."""

from __future__ import annotations

from stbench.data.clips import summarise_reasons
from stbench.fvd.measure import Outcome
from stbench.records.protocol import Protocol
from stbench.reports.terminal import FVD_DECIMALS, distance_or_reason, print_quality, print_rows

# What a record's label says of the figures.
ABOUT_DETECTOR = {
    "standard": ": published, and at its usual number of clips",
    "exploratory": ": published, but at fewer clips than is usual",
    "internal": ": none that papers use, so compare its figures with those of stbench alone",
    "refused": "",
}


def print_fvd(outcome: Outcome) -> None:
    """Print what `stbench fvd` found: the two sides, the distances, and the control beside them."""
    quality, control, frames = outcome.quality, outcome.control, outcome.frames
    rows = []
    for title, side in (("real", outcome.real), ("generated", outcome.fake)):
        why = summarise_reasons(video.reason for video in side.dropped)
        dropped = f"; dropped {len(side.dropped)}: {why}" if why else ""
        ignored = f"; {len(side.ignored)} other files ignored" if side.ignored else ""
        rows.append((title, f"{side.origin}: {len(side.video_ids)} of {side.found} videos used{dropped}{ignored}"))
    rows += [("protocol", outcome.protocol_name), ("clips", _clips(quality.protocol))]
    print_rows([*rows, ("detector", quality.detector + ABOUT_DETECTOR[quality.label])])
    print_quality(quality)
    shuffled = [
        (f"{title} [{quality.detector}], frames shuffled", f"{distance:{form}}")
        for title, distance, form in (
            ("FVD", control and control.fvd_shuffled, f".{FVD_DECIMALS}f"),
            ("KVD", control and control.kvd_shuffled, ".4g"),
        )
        if distance is not None
    ]
    if shuffled:
        print_rows(shuffled)
    if frames:
        numbers = f"{frames.num_real} real, {frames.num_fake} generated frames"
        fid = distance_or_reason(frames.fid, frames.refused)
        print_rows([(f"FID [{frames.detector}], single frames", f"{fid}  ({numbers})")])


def _clips(protocol: Protocol) -> str:
    """Which frames the detector was given, and how large."""
    real, fake = (protocol.side(name).frame_stride for name in ("real", "fake"))
    stride = f"stride {real}" if real == fake else f"stride {real} of real ones and {fake} of generated ones"
    return (
        f"{protocol.num_frames} frames, {stride}, {protocol.resolution}x{protocol.resolution} ({protocol.spatial_rule})"
    )
