"""What a prior makes: embeddings of images, judged beside those of real clips. There is nothing to look at."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from stbench.metrics.embedding_cosines import embedding_cosines
from stbench.progress import progress_bar
from stbench.records.sections import Quality
from stbench.run.evaluation import Evaluation, Evaluator, labels_of
from stbench.run.generation import generate_latents, labels_of_samples
from stbench.run.setup import Setup

NO_CLIPS = "a prior makes embeddings, not clips"


class EmbeddingEvaluator(Evaluator):
    """Compares sampled embeddings with those of the real clips."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.refusal = NO_CLIPS

    @cached_property
    def _real(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embeddings and classes of the real clips."""
        found, labels = [], []
        for batch in self._real_batches(self.num_real):
            latents = self.setup.autoencoder.encode(batch.clips.to(self.setup.runtime.device))
            found.append(F.normalize(latents.flatten(1), dim=1).cpu().numpy())
            labels.append(labels_of(batch))
        return np.concatenate(found), np.concatenate(labels)

    def evaluate(self, backbone: nn.Module, label: str) -> Evaluation:
        """Sample from `backbone` and hold the embeddings against the real ones."""
        setup, number = self.setup, self.settings.num_clips
        real, real_labels = self._real
        sampled = sample_embeddings(backbone, setup, number, label).cpu().numpy()
        labels = labels_of_samples(range(number), setup.dataset.num_classes)
        quality = Quality(
            protocol=setup.protocol,
            protocol_hash=self.protocol_hash,
            detector=setup.protocol.detector,
            n_real=len(real),
            n_fake=number,
            cosines=embedding_cosines(sampled, labels, real, real_labels),
            refused=NO_CLIPS,
            label="refused",
        )
        return Evaluation(quality, real, sampled, samples=None)


def evaluator_of(setup: Setup) -> Evaluator:
    """What judges a run: the clips that it makes, or its embeddings."""
    return Evaluator(setup) if setup.autoencoder.makes_clips else EmbeddingEvaluator(setup)


def sample_embeddings(backbone: nn.Module, setup: Setup, number: int, label: str = "sampling") -> Tensor:
    """Draw embeddings, the classes in turn: of each as many as there are candidates, of which the best is taken.

    Args:
        backbone: in evaluation mode.
        setup: of a prior's run.
        number: how many.
        label: shown beside the progress bar.

    Returns:
        (number, D) unit vectors, float32; sample i is a function of weights, `eval.seed` and i.
    """
    spec, seed, candidates = setup.sampling, setup.config.settings.eval.seed, []
    with progress_bar(label, number * setup.config.settings.eval.candidates) as advance:
        for candidate in range(setup.config.settings.eval.candidates):
            found = []
            for latents in generate_latents(backbone, setup.runtime, replace(spec, candidate=candidate), number, seed):
                found.append(F.normalize(latents.flatten(1), dim=1))
                advance(len(latents))
            candidates.append(torch.cat(found))
    if setup.class_tokens is None:
        return candidates[0]
    labels = torch.from_numpy(labels_of_samples(range(number), setup.dataset.num_classes))
    texts = setup.class_tokens[labels, -1].to(candidates[0].device)
    return nearest_to_text(torch.stack(candidates), texts)


def nearest_to_text(candidates: Tensor, texts: Tensor) -> Tensor:
    """Of the candidates (K, N, D) for each of N texts (N, D) the one with the largest cosine to it: (N, D).

    This is how DALL-E 2 chooses between two (arXiv 2204.06125, section 2.2).
    """
    cosines = F.cosine_similarity(candidates, texts[None], dim=-1)  # (K, N)
    return candidates[cosines.argmax(dim=0), torch.arange(len(texts), device=candidates.device)]
