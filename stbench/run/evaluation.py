"""Quality of a backbone: features of real and generated clips, and the distances between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.data.loading import Batch, clips_to_tensor, evaluation_clips, tensor_to_clips
from stbench.metrics.detectors import extract_features
from stbench.metrics.quality import assess
from stbench.records.sections import Quality
from stbench.run.generation import generate, labels_of_samples
from stbench.run.setup import Setup
from stbench.storage.clips import Clips


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one evaluation.

    Attributes:
        quality: the record's section.
        real_features: (n_real, D), one row per real video, kept so that every interval can be recomputed.
        fake_features: (n_fake, D)
        samples: the first few generated clips.
    """

    quality: Quality
    real_features: NDArray[np.float32]
    fake_features: NDArray[np.float32]
    samples: Clips


class Evaluator:
    """Compares generated clips with the same real ones, as often as one likes."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.settings = setup, setup.config.settings.eval
        limit = setup.protocol.num_real
        self.num_real = len(setup.reference) if limit is None else min(limit, len(setup.reference))

    @cached_property
    def real_features(self) -> NDArray[np.float32]:
        """Features of the real clips, computed once."""
        batches = (batch.clips for batch in self._real_batches(self.num_real))
        return extract_features(self.setup.detector, batches, self.num_real, "features, real")

    def evaluate(self, backbone: nn.Module, label: str) -> Evaluation:
        """Sample from `backbone` and assess.

        Args:
            backbone: in evaluation mode.
            label: shown beside the progress bar.
        """
        setup, settings = self.setup, self.settings
        kept: list[NDArray[np.uint8]] = []

        def clips() -> Iterator[Tensor]:
            """The sampled clips for the detector, the first few of which are kept for the report."""
            sampled = generate(
                backbone, setup.autoencoder, setup.runtime, setup.sampling, settings.num_clips, settings.seed
            )
            for batch in sampled:
                kept.extend(batch[: settings.report_clips - len(kept)])
                yield clips_to_tensor(batch)

        fake = extract_features(setup.detector, clips(), settings.num_clips, label)
        labels = labels_of_samples(range(len(kept)), setup.dataset.num_classes)
        samples = Clips(np.stack(kept), labels, setup.dataset.class_names)
        quality = assess(setup.protocol, self.real_features, fake)
        return Evaluation(quality, self.real_features, fake, samples)

    def real_examples(self) -> Clips:
        """Real clips to show beside the samples: with the same labels in the same order, as far as there are any."""
        wanted = labels_of_samples(range(self.settings.report_clips), self.setup.dataset.num_classes)
        found: dict[int, list[NDArray[np.uint8]]] = {}
        for batch in self._real_batches(min(self.num_real, 8 * len(wanted))):
            labels = [0] * len(batch.clips) if batch.labels is None else batch.labels.tolist()
            for label, clip in zip(labels, tensor_to_clips(batch.clips), strict=True):
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
