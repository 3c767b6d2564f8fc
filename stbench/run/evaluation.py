"""Quality of a backbone: features of real and generated clips, and the distances between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.data.loading import Batch, clips_to_tensor, evaluation_clips, tensor_to_clips
from stbench.metrics.class_agreement import class_agreement
from stbench.metrics.detectors import extract_features
from stbench.metrics.fidelity import FidelityTally
from stbench.metrics.frechet import frechet_distance
from stbench.metrics.motion import MOST_CLIPS, MotionTally
from stbench.metrics.quality import assess, refusal
from stbench.records.protocol import protocol_hash
from stbench.records.sections import Fidelity, MotionScores, Quality
from stbench.run.generation import labels_of_samples
from stbench.run.given import given_clips, sample_clips
from stbench.run.setup import Setup
from stbench.storage.clips import Clips


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one evaluation.

    Attributes:
        quality: the record's section.
        real_features: (n_real, D), one row per real video, kept so that every interval can be recomputed.
        fake_features: (n_fake, D)
        samples: the first few generated clips; None of what makes no clips.
    """

    quality: Quality
    real_features: NDArray[np.float32]
    fake_features: NDArray[np.float32]
    samples: Clips | None


class Evaluator:
    """Compares generated clips with the same real ones, as often as one likes.

    Attributes:
        num_real: how many real clips there are for it.
        protocol_hash: of the protocol of these comparisons.
        refusal: why they give no FVD, or None.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.settings = setup, setup.config.settings.eval
        limit, available = setup.protocol.num_real, len(setup.reference)
        self.num_real = available if limit is None else min(limit, available)
        self.given = given_clips(setup, self.settings.num_clips)
        self.protocol_hash = protocol_hash(setup.protocol)
        self.refusal = refusal(setup.protocol, self.num_real, self.settings.num_clips)

    @property
    def real_features(self) -> NDArray[np.float32]:
        """Features of the real clips, computed once."""
        return self._real[0][: self.num_real]

    @cached_property
    def class_agreement_real(self) -> float | None:
        """Share of the real clips whose own class the detector names; None where it cannot."""
        labels = self._real[1][: self.num_real]
        return class_agreement(self.setup.detector, self.real_features, labels, self.setup.reference.class_names)

    @cached_property
    def floor(self) -> tuple[float, int] | None:
        """FVD between real clips and as many others, and their number; None where they are too few for one.

        The number is that of the generated clips, or half of what there is.
        """
        features, _ = self._real
        number = min(self.settings.num_clips, len(features) // 2)
        if number <= self.setup.protocol.feature_dim:
            return None
        return frechet_distance(features[:number], features[number : 2 * number]), number

    @cached_property
    def motion_real(self) -> MotionScores | None:
        """How the real clips move; None where that cannot be judged."""
        tally = MotionTally(self.setup.reference)
        for batch in self._real_batches(min(self.num_real, MOST_CLIPS)) if tally.judge else ():
            tally.add(tensor_to_clips(batch.clips), labels_of(batch))
        return tally.scores()

    @cached_property
    def fidelity_plain(self) -> Fidelity | None:
        """How near one comes without a network to the clips that the task gives a part of; None without a task."""
        restoration = self.setup.restoration
        if self.given is None or restoration is None:
            return None
        tally = FidelityTally(self._made_frames)
        for batch in self.given.batches():
            tally.add(tensor_to_clips(restoration.plain(batch.clips)), tensor_to_clips(batch.clips))
        return tally.scores()

    @property
    def _made_frames(self) -> list[int]:
        restoration = self.setup.restoration
        return restoration.made(self.setup.dataset.num_frames) if restoration else []

    @cached_property
    def _real(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features and classes of the real clips, and behind them of those that `floor` needs besides."""
        num_clips = self.num_real
        if self.refusal is None:
            num_clips = max(num_clips, min(2 * self.settings.num_clips, len(self.setup.reference)))
        labels = []

        def clips() -> Iterator[Tensor]:
            for batch in self._real_batches(num_clips):
                labels.append(labels_of(batch))
                yield batch.clips

        features = extract_features(self.setup.detector, clips(), num_clips, "features, real")
        return features, np.concatenate([np.empty(0, np.int64), *labels])

    def evaluate(self, backbone: nn.Module, label: str) -> Evaluation:
        """Sample from `backbone` and assess.

        Args:
            backbone: in evaluation mode.
            label: shown beside the progress bar.
        """
        setup, settings = self.setup, self.settings
        kept: list[NDArray[np.uint8]] = []
        asked: list[NDArray[np.int64]] = []
        motion, fidelity = MotionTally(setup.dataset), FidelityTally(self._made_frames)

        def clips() -> Iterator[Tensor]:
            """The sampled clips for the detector; they are judged, and a few are kept for the report."""
            for batch in sample_clips(backbone, setup, setup.sampling, settings.num_clips, self.given):
                kept.extend(batch.clips[: settings.report_clips - len(kept)])
                asked.append(batch.labels)
                motion.add(batch.clips, batch.labels)
                if batch.real is not None:
                    fidelity.add(batch.clips, batch.real)
                yield clips_to_tensor(batch.clips)

        fake = extract_features(setup.detector, clips(), settings.num_clips, label)
        labels, names = np.concatenate(asked), setup.dataset.class_names
        samples = Clips(np.stack(kept), labels[: len(kept)], names)
        quality = replace(
            assess(setup.protocol, self.real_features, fake),
            class_agreement=class_agreement(setup.detector, fake, labels, names),
            class_agreement_real=self.class_agreement_real,
            motion=motion.scores(),
            motion_real=self.motion_real,
            fidelity=fidelity.scores(),
            fidelity_plain=self.fidelity_plain,
        )
        if self.floor:
            distance, number = self.floor
            quality = replace(quality, fvd_real_vs_real=distance, n_real_vs_real=number)
        return Evaluation(quality, self.real_features, fake, samples)

    def real_examples(self) -> Clips:
        """Real clips to show beside the samples: with the same labels in the same order, as far as there are any."""
        wanted = labels_of_samples(range(self.settings.report_clips), self.setup.dataset.num_classes)
        found: dict[int, list[NDArray[np.uint8]]] = {}
        for batch in self._real_batches(min(self.num_real, 8 * len(wanted))):
            for label, clip in zip(labels_of(batch).tolist(), tensor_to_clips(batch.clips), strict=True):
                found.setdefault(label, []).append(clip)
        chosen = [(label, found[label].pop(0)) for label in wanted.tolist() if found.get(label)]
        clips = np.stack([clip for _, clip in chosen]) if chosen else np.zeros((0, 1, 1, 1, 3), np.uint8)
        return Clips(clips, np.array([label for label, _ in chosen], dtype=np.int64), self.setup.dataset.class_names)

    def _real_batches(self, num_clips: int) -> Iterator[Batch]:
        setup = self.setup
        num_workers = setup.config.settings.train.num_workers
        return evaluation_clips(
            setup.reference, num_clips, setup.protocol.clip_seed, self.settings.batch_size, num_workers
        )


def labels_of(batch: Batch) -> NDArray[np.int64]:
    """The classes of a batch's clips; zeros when there are none."""
    return np.zeros(len(batch.clips), np.int64) if batch.labels is None else batch.labels.numpy()
