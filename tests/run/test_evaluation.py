"""The same real clips for every evaluation, and the first few samples kept for the report."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.data.loading import evaluation_clips
from stbench.metrics.detectors import extract_features
from stbench.run.evaluation import Evaluator
from stbench.run.generation import generate
from stbench.run.setup import Setup, prepare
from stbench.settings.resolve import resolve

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]


class Still(nn.Module):
    """A flow that leaves the noise as it is."""

    def forward(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        return torch.zeros_like(latents)


def setup_of(*words: str) -> Setup:
    return prepare(resolve(["variant=latte1", *SMOKE, "eval.num_clips=20", "eval.batch_size=8", *words]))


def test_features_and_samples_are_those_of_the_first_clips() -> None:
    setup = setup_of("eval.report_clips=10", "protocol=builtin")
    evaluation = Evaluator(setup).evaluate(Still(), "test")
    sampled = list(generate(Still(), setup.autoencoder, setup.runtime, setup.sampling, 20, 0))
    assert np.array_equal(evaluation.samples.clips, np.concatenate(sampled)[:10])
    assert evaluation.samples.labels.tolist() == [0, 1, 2, 3] * 2 + [0, 1]
    assert evaluation.samples.class_names == setup.dataset.class_names
    real = [batch.clips for batch in evaluation_clips(setup.reference, 20, setup.protocol.clip_seed, 8)]
    expected = extract_features(setup.detector, real, 20, "test")
    np.testing.assert_allclose(evaluation.real_features, expected, rtol=1e-5, atol=1e-5)
    assert evaluation.fake_features.shape == (20, 64)
    assert (evaluation.quality.n_real, evaluation.quality.n_fake) == (20, 20)
    assert evaluation.quality.protocol == setup.protocol


def test_evaluations_repeat() -> None:
    evaluator = Evaluator(setup_of())
    first, again = evaluator.evaluate(Still(), "test"), evaluator.evaluate(Still(), "test")
    assert np.array_equal(first.fake_features, again.fake_features)
    assert first.real_features is again.real_features  # computed once


def test_real_clips_to_show_have_the_labels_of_the_samples() -> None:
    shown = Evaluator(setup_of("eval.report_clips=6")).real_examples()
    assert shown.labels.tolist() == [0, 1, 2, 3, 0, 1]
    assert len({clip.tobytes() for clip in shown.clips}) == 6


@pytest.mark.parametrize(("length", "num_real"), [(12, 12), (50, 20)])
def test_no_more_real_clips_than_there_are(length: int, num_real: int) -> None:
    assert Evaluator(setup_of(f"dataset.length={length}")).num_real == num_real
