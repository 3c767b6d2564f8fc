"""Features under distortions depend on the clips and the seed, never on batches or workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stbench.data.loading import clips_to_tensor, evaluation_clips, tensor_to_clips
from stbench.data.synthetic.shapes import Shapes
from stbench.metrics.detectors import Detector
from stbench.metrics.distortions import DISTORTIONS
from stbench.runtime.seeds import generator
from stbench.studies.distorted import DISTORTIONS_AND_STRENGTHS, STRENGTHS, StudyFeatures, group_sizes, study_features

NUM = 34


class Pixels(Detector):
    """A detector whose features are the clips' own values, eight times smaller."""

    name = "pixels"
    feature_dim = 3 * 4 * 2 * 2
    min_frames = 4
    weights_sha256 = "none"
    preprocessing = "none"

    def compute_features(self, clips: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool3d(clips, (1, 4, 4)).flatten(1)


def dataset() -> Shapes:
    return Shapes(image_size=8, num_frames=4, frame_stride=1, length=80)


def features(batch_size: int = 16, num_workers: int = 0, seed: int = 0) -> StudyFeatures:
    return study_features(dataset(), Pixels(), NUM, seed, batch_size, num_workers)


@pytest.fixture(scope="module")
def base() -> StudyFeatures:
    return features()


@pytest.mark.parametrize("num", [2, 15, 16, 17, 31, 32, 33, 100, 1025])
def test_groups_hold_every_clip_and_never_one_alone(num: int) -> None:
    sizes = group_sizes(num)
    assert sum(sizes) == num
    assert min(sizes) >= 2
    assert max(sizes) < 32


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (5, 0), (100, 0), (16, 2)])
def test_batches_and_workers_change_nothing(base: StudyFeatures, batch_size: int, num_workers: int) -> None:
    other = features(batch_size, num_workers)
    assert np.array_equal(other.reference, base.reference)
    assert np.array_equal(other.clean, base.clean)
    assert all(np.array_equal(other.distorted[key], base.distorted[key]) for key in DISTORTIONS_AND_STRENGTHS)


def test_another_seed_takes_other_clips(base: StudyFeatures) -> None:
    assert not np.array_equal(features(seed=1).reference, base.reference)


def test_both_sides_are_the_clips_of_the_data_room_and_share_none(base: StudyFeatures) -> None:
    (batch,) = evaluation_clips(dataset(), 2 * NUM, 0, 2 * NUM)
    expected = Pixels()(batch.clips).numpy()
    assert np.array_equal(base.reference, expected[:NUM])
    assert np.array_equal(base.clean, expected[NUM:])
    assert len(np.unique(expected, axis=0)) == 2 * NUM


@pytest.mark.parametrize(("name", "strength"), [("gaussian_noise", STRENGTHS[0]), ("switch", 1.0)])
def test_features_are_those_of_the_distorted_group_in_8_bits(base: StudyFeatures, name: str, strength: float) -> None:
    (batch,) = evaluation_clips(dataset(), 2 * NUM, 0, 2 * NUM)
    start = NUM + group_sizes(NUM)[0]
    distorted = DISTORTIONS[name](
        batch.clips[start:], strength, generator(torch.device("cpu"), 0, "noise study", name, 1)
    )
    expected = Pixels()(clips_to_tensor(tensor_to_clips(distorted))).numpy()
    assert np.array_equal(base.distorted[name, strength][group_sizes(NUM)[0] :], expected)


def test_a_stronger_noise_is_the_same_noise_carried_further(base: StudyFeatures) -> None:
    """The change by noise is (s/2) (noise - clip) but for clamping: parallel at all strengths."""
    changes = [(base.distorted["gaussian_noise", strength] - base.clean).ravel() for strength in STRENGTHS]
    assert min(np.corrcoef(changes[0], change)[0, 1] for change in changes[1:]) > 0.9
