"""Per-frame quality: equal to torchmetrics on the same features, whatever the batches and the processes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from stbench.data.clips import ClipRule
from stbench.data.loading import clips_to_tensor
from stbench.data.spatial import DEFAULT_SPATIAL_RULE
from stbench.errors import StbenchError
from stbench.fvd.frames import ChosenClips, FrameQuality, assess_frames, frame_statistics
from stbench.fvd.sources import ClipsFile
from stbench.metrics.detectors import Detector, extract_features
from stbench.metrics.frechet import frechet_between, frechet_distance
from stbench.records.protocol import FIRST_FRAME


def _moments(frames: Tensor) -> Tensor:
    """Six features of frames (N, 3, H, W): mean and spread of each channel."""
    return torch.cat([frames.mean(dim=(2, 3)), frames.std(dim=(2, 3))], dim=1)


class FrameMoments(Detector):
    name = "frame-moments"
    feature_dim = 6
    min_frames = 1
    per_frame = True
    weights_sha256 = "none"
    preprocessing = "as-is"

    def compute_features(self, clips: Tensor) -> Tensor:
        return _moments(clips.transpose(1, 2).flatten(0, 1))


class WholeClips(FrameMoments):
    name = "whole-clips"
    per_frame = False


class _TorchmetricsFeature(nn.Module):
    num_features = 6

    def forward(self, frames: Tensor) -> Tensor:
        return _moments(frames)


def _clips(N: int, seed: int, brightness: float = 0.0) -> Tensor:
    clips = torch.rand((N, 3, 4, 8, 8), generator=torch.Generator().manual_seed(seed)) - 0.5
    return clips * torch.linspace(0.5, 1.5, N)[:, None, None, None, None] + brightness


def _distance(real: Tensor, fake: Tensor, batch_size: int = 5) -> float:
    sides = [frame_statistics(FrameMoments(), clips.split(batch_size), len(clips), "frames") for clips in (real, fake)]
    return frechet_between(*sides).distance


def test_it_is_torchmetrics_fid_on_the_same_features() -> None:
    real, fake = _clips(20, 0), _clips(24, 1, brightness=0.2)
    metric = FrechetInceptionDistance(feature=_TorchmetricsFeature()).set_dtype(torch.float64)
    for clips, is_real in ((real, True), (fake, False)):
        metric.update(clips.transpose(1, 2).flatten(0, 1), real=is_real)
    assert _distance(real, fake) == pytest.approx(float(metric.compute()), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 24])
def test_every_frame_is_a_sample_whatever_the_batches(batch_size: int) -> None:
    real, fake = _clips(20, 0), _clips(24, 1, brightness=0.2)
    features = [_moments(clips.transpose(1, 2).flatten(0, 1)) for clips in (real, fake)]
    assert _distance(real, fake, batch_size) == pytest.approx(frechet_distance(*features), rel=1e-6)
    statistics = frame_statistics(FrameMoments(), real.split(batch_size), 20, "frames")
    assert statistics.num_samples == 80
    extracted = extract_features(FrameMoments(), real.split(batch_size), 20, "frames")
    np.testing.assert_allclose(extracted, features[0].numpy(), atol=1e-6)


def test_the_order_of_frames_does_not_matter() -> None:
    real, fake = _clips(20, 0), _clips(24, 1, brightness=0.2)
    assert _distance(real, fake.flip(2)) == pytest.approx(_distance(real, fake), rel=1e-9)


def test_detectors_of_whole_clips_are_refused() -> None:
    with pytest.raises(StbenchError, match="need a detector of frames, and whole-clips judges whole clips"):
        frame_statistics(WholeClips(), [_clips(2, 0)], 2, "frames")


def test_another_number_of_clips_than_announced_is_an_error() -> None:
    with pytest.raises(StbenchError, match="frames: expected 3 clips, got 2"):
        frame_statistics(FrameMoments(), [_clips(2, 0)], 3, "frames")


# One of two processes: reads its share of the clips, and prints what comes of all.
WORKER = """
import dataclasses, importlib.util, json, sys
from pathlib import Path
import torch

path, folder, rank = sys.argv[1:]
spec = importlib.util.spec_from_file_location("frame_tests", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=int(rank), world_size=2)
print(json.dumps(dataclasses.asdict(module.assess_files(Path(folder)))))
torch.distributed.destroy_process_group()
"""


def chosen(path: Path, num_frames: int = 4) -> ChosenClips:
    source = ClipsFile(path)
    return ChosenClips(source, source.video_ids, ClipRule(num_frames, 1, 8, DEFAULT_SPATIAL_RULE, FIRST_FRAME, 0))


def assess_files(folder: Path) -> FrameQuality:
    return assess_frames(FrameMoments(), chosen(folder / "real.npz"), chosen(folder / "fake.npz"), batch_size=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips on both sides, their numbers odd and not the same."""
    rng = np.random.default_rng(0)
    for name, count in (("real", 11), ("fake", 13)):
        np.savez(tmp_path / f"{name}.npz", clips=rng.integers(0, 256, (count, 4, 8, 8, 3), dtype=np.uint8))
    return tmp_path


def test_what_is_written_beside_the_distance(folder: Path) -> None:
    frames = [np.load(folder / f"{name}.npz")["clips"] for name in ("real", "fake")]
    features = [_moments(clips_to_tensor(clips).transpose(1, 2).flatten(0, 1)) for clips in frames]
    quality = assess_files(folder)
    assert quality.fid == pytest.approx(frechet_distance(*features), rel=1e-6)
    assert quality == FrameQuality(
        fid=quality.fid,
        refused=None,
        num_real=44,
        num_fake=52,
        detector="frame-moments",
        weights_sha256="none",
        preprocessing="as-is",
    )


def test_no_more_frames_than_features_are_refused_before_one_is_read(folder: Path) -> None:
    few = replace(chosen(folder / "fake.npz"), video_ids=["nothing by this name"])
    quality = assess_frames(FrameMoments(), chosen(folder / "real.npz"), few, batch_size=3)
    assert (quality.fid, quality.num_real, quality.num_fake) == (None, 44, 4)
    assert quality.refused == (
        "a per-frame distance needs more than 6 frames on each side, got 44 real and 4 generated"
    )


def test_processes_change_nothing(folder: Path) -> None:
    alone = asdict(assess_files(folder))
    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER, __file__, str(folder), str(rank)], stdout=subprocess.PIPE)
        for rank in range(2)
    ]
    together = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert together == [alone | {"fid": pytest.approx(alone["fid"], rel=1e-9)}] * 2


def test_a_video_that_cannot_be_read_any_more_is_named(folder: Path) -> None:
    longer = chosen(folder / "fake.npz", num_frames=5)
    with pytest.raises(StbenchError, match=r"fake\.npz: 0 changed while it was measured: shorter than a clip, 5"):
        assess_frames(FrameMoments(), chosen(folder / "real.npz"), longer, batch_size=3)
