"""`stbench study noise`: what a detector's distances see, how strongly, and how biased they are at how many clips.

The noise study of the FVD paper (arXiv 1812.01717, section 4.1) for any detector on any data set, and beside it the
bias of the distances where the truth is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from stbench.data.clips import ClipDataset
from stbench.errors import StbenchError, unknown_name
from stbench.metrics.detectors import Detector, build_detector, try_detector
from stbench.metrics.frechet import check_features, gaussian_statistics
from stbench.metrics.kernel import MIN_CLIPS_FOR_KERNEL
from stbench.metrics.protocol import clip_facts, filled_in
from stbench.records.protocol import HASHED_OFFSET, OPEN, Protocol, protocol_hash
from stbench.reports.noise.outcome import CONTENTS, write_noise_study
from stbench.runtime.device import choose_device
from stbench.runtime.machine import describe_machine, software_versions
from stbench.runtime.timing import Stopwatch
from stbench.settings.components import Component, load_component
from stbench.settings.options import NoiseOptions
from stbench.settings.resolve import parse_overrides, take_arguments
from stbench.storage.folder import swapped_in
from stbench.studies import bias
from stbench.studies.distorted import GROUP_SIZE, STRENGTHS, StudyFeatures, study_features
from stbench.studies.gaussian import check_on_gaussians
from stbench.studies.response import main_figure, response_rows, summarise_responses

SCHEMA_VERSION = 1
KEYS = ("detector", "preprocessing", "dataset", "preset", "device")


@dataclass(frozen=True)
class NoiseStudy:
    """A study that can begin: everything that can be refused has been."""

    component: Component
    dataset: ClipDataset
    detector: Detector
    protocol: Protocol
    options: NoiseOptions

    def run(self) -> dict[str, Any]:
        """Measure everything; returns the content of `study.json`."""
        options = self.options
        with Stopwatch(self.detector.device) as watch:
            features = study_features(
                self.dataset, self.detector, options.num, options.seed, options.batch_size, options.num_workers
            )
            biases = self._bias(features)
            # The distorted clips' distances are judged by what clean clips give at the same number.
            rows, figure = response_rows(features), main_figure(*features.reference.shape)
            between_clean = [row[figure] for row in biases["rows"] if row["n"] == options.num]
            noise = {**summarise_responses(rows, figure, between_clean), "rows": rows}
            gaussian = check_on_gaussians(options.dim, options.seed) if options.dim else None
        return {
            "schema": SCHEMA_VERSION,
            "study": "noise",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "settings": {
                "dataset": self.component.to_dict(),
                "compared": "clean clips with other clean clips, distorted",
                "num": options.num,
                "seed": options.seed,
                "strengths": list(STRENGTHS),
                "distorted_together": GROUP_SIZE,
                "device": str(self.detector.device),
            },
            "protocol": self.protocol.to_dict(),
            "protocol_hash": protocol_hash(self.protocol),
            "detector": self.protocol.detector,
            "machine": asdict(describe_machine()),
            "software": asdict(software_versions()),
            "wall_s": round(watch.seconds, 1),
            "noise": noise,
            "bias": biases,
            "gaussian_check": gaussian,
        }

    def _bias(self, features: StudyFeatures) -> dict[str, Any]:
        """The bias between disjoint halves of all clean clips."""
        pool = check_features(np.concatenate([features.reference, features.clean]))
        covariance = gaussian_statistics(pool).covariance
        draw, sizes = bias.halves_of(pool, self.options.seed), bias.log_grid(self.options.num)
        measured = bias.measure_bias(draw, sizes, bias.REPEATS, bias.gaussian_bias(covariance), "disjoint halves")
        return {"dim": len(covariance), "effective_dim": bias.effective_dim(covariance), **measured}


def study_noise(words: Iterable[str], options: NoiseOptions, out: Path) -> dict[str, Any]:
    """Make the study and write it to a folder, which appears whole or not at all.

    Args:
        words: detector=NAME, preprocessing=NAME, dataset=NAME, dataset.KEY=VALUE, preset=NAME, device=NAME; `shapes3d`
            on `shapes` where they are left out.
        options: how many clips, and the like.
        out: a new or empty folder, or an earlier study, which is replaced.

    Returns:
        The content of `study.json`.

    Raises:
        StbenchError: wrong words, too few videos, missing weights, or a folder that holds something else.
    """
    study = prepare(words, options)
    with swapped_in(out, CONTENTS) as folder:
        content = study.run()
        write_noise_study(content, folder)
    return content


def prepare(words: Iterable[str], options: NoiseOptions) -> NoiseStudy:
    """Build the dataset, the detector and the protocol, and refuse what does not fit together."""
    given = parse_overrides(words)
    own = take_arguments(given, "dataset")
    for key in given:
        if key not in KEYS:
            raise unknown_name("key", key, [*KEYS, "dataset.KEY"])
    component = load_component("dataset", str(given.get("dataset", "shapes")))
    if "preset" in given:
        component, _ = component.with_preset(str(given["preset"]))
    component = component.with_arguments(own)
    dataset = component.construct()
    num, num_videos = options.num, len(dataset)
    if num < MIN_CLIPS_FOR_KERNEL:
        raise StbenchError(f"--num {num}: the distances need at least {MIN_CLIPS_FOR_KERNEL} clips on each side")
    if 2 * num > num_videos:
        raise StbenchError(
            f"--num {num} takes {2 * num} videos, one clip of each, and dataset {component.name!r} has "
            f"{num_videos}: expected at most {num_videos // 2}"
        )
    name = str(given.get("detector", "shapes3d"))
    device = choose_device(str(given.get("device", "auto")))
    detector = build_detector(name, options.weights, given.get("preprocessing"), device)
    if detector.per_frame:
        raise StbenchError(f"detector {name} looks at single frames, and cannot see their order: expected one of clips")
    detector.check_num_frames(dataset.num_frames, "dataset.num_frames")
    try_detector(detector, dataset.num_frames, dataset.image_size)
    protocol = Protocol(
        detector=name,
        preprocessing=OPEN,
        frame_stride_fake=dataset.frame_stride,
        offset_rule_fake=HASHED_OFFSET,  # the distorted clips are real ones
        clip_seed=options.seed,
        num_real=options.num,
        num_fake=options.num,
    )
    clips = clip_facts(dataset, component)
    protocol = filled_in(protocol, detector=detector.facts, clips=clips)
    return NoiseStudy(component, dataset, detector, protocol, options)
