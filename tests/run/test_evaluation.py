"""The same real clips for every evaluation, and the first few samples kept for the report."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stbench.backbones.base import UNCONDITIONAL, Conditioning
from stbench.data.loading import evaluation_clips
from stbench.metrics.detectors import extract_features
from stbench.metrics.frechet import frechet_distance
from stbench.records.sections import MotionScores
from stbench.run.evaluation import Evaluator
from stbench.run.generation import generate
from stbench.run.setup import Setup, prepare
from stbench.settings.resolve import resolve

SMOKE = ["dataset=shapes", "preset=smoke", "device=cpu", "precision=float32", "attention=math"]


class Still(nn.Module):
    """A flow that leaves the noise as it is."""

    def forward(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning = UNCONDITIONAL) -> Tensor:
        return torch.zeros_like(latents)


def setup_of(*words: str, num_clips: int = 20) -> Setup:
    return prepare(resolve(["variant=latte1", *SMOKE, f"eval.num_clips={num_clips}", "eval.batch_size=8", *words]))


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
    assert np.shares_memory(first.real_features, again.real_features)  # computed once


@pytest.mark.parametrize(("length", "number"), [(1000, 70), (135, 67), (128, None)])
def test_real_clips_are_compared_with_others_as_many_as_there_are(length: int, number: int | None) -> None:
    """64 on each side are too few for 64 dimensions."""
    evaluator = Evaluator(setup_of(f"dataset.length={length}", num_clips=70))
    quality = evaluator.evaluate(Still(), "test").quality
    assert quality.n_real_vs_real == number
    if number is None:
        assert quality.fvd_real_vs_real is None
        return
    clips = [batch.clips for batch in evaluation_clips(evaluator.setup.reference, 2 * number, 0, 8)]
    features = extract_features(evaluator.setup.detector, clips, 2 * number, "test")
    expected = frechet_distance(features[:number], features[number:])
    assert quality.fvd_real_vs_real == pytest.approx(expected, rel=1e-3)
    assert 0 < expected < quality.fvd


@pytest.mark.parametrize(
    ("num_clips", "length", "refusal"),
    [
        (70, 70, None),
        (64, 70, "FVD of shapes3d needs more than 64 clips"),
        (70, 69, "the protocol asks for 70 real clips, got 69"),
    ],
)
def test_a_refusal_is_known_before_any_clip_is_made(num_clips: int, length: int, refusal: str | None) -> None:
    said = Evaluator(setup_of(f"dataset.length={length}", num_clips=num_clips)).refusal
    assert said is refusal is None or str(said).startswith(str(refusal))


def test_real_clips_to_show_have_the_labels_of_the_samples() -> None:
    shown = Evaluator(setup_of("eval.report_clips=6")).real_examples()
    assert shown.labels.tolist() == [0, 1, 2, 3, 0, 1]
    assert len({clip.tobytes() for clip in shown.clips}) == 6


@pytest.mark.parametrize(("length", "num_real"), [(12, 12), (50, 20)])
def test_no_more_real_clips_than_there_are(length: int, num_real: int) -> None:
    assert Evaluator(setup_of(f"dataset.length={length}")).num_real == num_real


def test_motion_is_judged_beside_that_of_real_clips() -> None:
    """Samples of an untrained flow are noise."""
    quality = Evaluator(setup_of()).evaluate(Still(), "test").quality
    assert quality.motion == MotionScores(n_clips=20, direction=0, speed=0, color=0, shape=0, all=0)
    assert quality.motion_real == MotionScores(n_clips=20, direction=1, speed=1, color=1, shape=1, all=1)


def test_motion_of_several_shapes_is_not_judged() -> None:
    quality = Evaluator(setup_of("dataset.num_shapes=2")).evaluate(Still(), "test").quality
    assert quality.motion is quality.motion_real is None


def test_class_agreement_is_asked_of_samples_and_of_real_clips() -> None:
    evaluator = Evaluator(setup_of(num_clips=32))
    quality = evaluator.evaluate(Still(), "test").quality
    assert quality.class_agreement is not None
    assert 0 <= quality.class_agreement < 0.6  # noise is of no class, and the detector has to name one of four
    assert quality.class_agreement_real is not None
    assert quality.class_agreement_real > 0.9


def test_without_classes_there_is_no_agreement() -> None:
    """Nor any motion of shapes."""
    clouds = ["dataset=clouds", "dataset.image_size=16", "dataset.num_frames=8"]
    quality = Evaluator(prepare(resolve(["variant=latte1", *SMOKE[1:], *clouds]))).evaluate(Still(), "test").quality
    assert quality.class_agreement is quality.class_agreement_real is quality.motion is None
