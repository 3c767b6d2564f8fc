"""`stbench fvd --frames`: the FID of the very clips that the FVD was measured on, and when there is none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from stbench.cli import app
from stbench.data.clips import clip_start
from stbench.data.synthetic.shapes import Shapes
from stbench.errors import FinishedInPart, StbenchError
from stbench.fvd import measure as fvd
from stbench.fvd.measure import Outcome, measure
from stbench.fvd.words import protocol_from_words
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detector_weights import find_weights
from stbench.metrics.detectors import Detector
from stbench.metrics.frechet import frechet_distance
from stbench.records.protocol import OPEN
from stbench.settings.options import FvdOptions
from stbench.storage.hashing import file_sha256

NUM = 6
WORDS = [f"protocol.num_real={NUM}", f"protocol.num_fake={NUM}"]
PROTOCOL = protocol_from_words(WORDS)
CPU = FvdOptions(device="cpu", frames=True)


class ChannelMeans(Detector):
    """In Inception's place: the means of a frame's channels and its contrast, with any file as its weights."""

    name = "inception"
    feature_dim = 4
    min_frames = 1
    per_frame = True
    preprocessing = "as-is"

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.weights_sha256 = file_sha256(find_weights("inception", weights))

    def compute_features(self, clips: Tensor) -> Tensor:
        frames = clips.transpose(1, 2).flatten(0, 1)
        return torch.cat([frames.mean(dim=(2, 3)), frames.std(dim=(1, 2, 3))[:, None]], dim=1)


def features_of(clips: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The same from uint8 clips (N,F,H,W,3), in float64."""
    frames = clips.reshape(-1, *clips.shape[2:]) / 127.5 - 1
    return np.concatenate([frames.mean(axis=(1, 2)), frames.std(axis=(1, 2, 3), ddof=1)[:, None]], axis=1)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that `ChannelMeans`, now called inception, finds by the environment variable."""
    path = tmp_path / "inception.pth"
    path.write_bytes(b"anything")
    monkeypatch.setenv("STBENCH_INCEPTION", str(path))
    info = replace(DETECTORS["inception"], class_path=f"{__name__}:ChannelMeans")
    monkeypatch.setitem(DETECTORS, "inception", info)
    return path


def moving_shapes(count: int, num_frames: int, seed: int) -> NDArray[np.uint8]:
    return Shapes(32, num_frames, 1, seed=seed).batch(range(count), [0] * count)[0]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One more folder of 20 frames than the protocol asks for, and a video that cannot be read."""
    root = tmp_path_factory.mktemp("real")
    for index, frames in enumerate(moving_shapes(NUM + 1, 20, seed=0)):
        (root / f"clip_{index}").mkdir()
        for time, frame in enumerate(frames):
            Image.fromarray(frame).save(root / f"clip_{index}" / f"{time}.png")
    (root / "broken.mp4").write_text("no video")
    return root


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fake") / "samples.npz"
    np.savez(path, clips=moving_shapes(NUM, 24, seed=1))
    return path


def frames_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.frames is not None
    return asdict(outcome.frames)


def refuse_to_compute(*_: Any, **__: Any) -> None:
    raise AssertionError("work was done")


def test_the_frames_are_those_of_the_clips_that_were_measured(
    real: Path, fake: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = measure(real, fake, PROTOCOL, replace(CPU, out=out))
    clips = []
    for name in done.real.video_ids:
        start = clip_start(0, name, 0, 5)
        clips.append([np.asarray(Image.open(real / name / f"{time}.png")) for time in range(start, start + 16)])
    expected = frechet_distance(features_of(np.array(clips)), features_of(moving_shapes(NUM, 24, seed=1)[:, :16]))
    assert frames_of(done) == {
        "fid": pytest.approx(expected, rel=1e-5),
        "refused": None,
        "num_real": 16 * NUM,
        "num_fake": 16 * NUM,
        "detector": "inception",
        "weights_sha256": file_sha256(weights),
        "preprocessing": "as-is",
    }
    assert json.loads((out / "fvd.json").read_text())["frames"] == frames_of(done)
    again = measure(real, fake, PROTOCOL, replace(CPU, out=out))  # the clips' features are taken again
    assert again.frames == done.frames
    assert measure(real, fake, PROTOCOL, replace(CPU, frames=False)).frames is None


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (4, 2)])
@pytest.mark.usefixtures("weights")
def test_batches_and_workers_change_nothing(real: Path, fake: Path, batch_size: int, num_workers: int) -> None:
    done = measure(real, fake, PROTOCOL, CPU)
    again = measure(real, fake, PROTOCOL, replace(CPU, batch_size=batch_size, num_workers=num_workers))
    assert frames_of(again) == frames_of(done) | {"fid": pytest.approx(frames_of(done)["fid"], rel=1e-6)}


@pytest.mark.usefixtures("weights")
def test_no_more_frames_than_features_are_refused_before_one_is_read(
    real: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChannelMeans, "feature_dim", 16 * NUM)
    monkeypatch.setattr(ChannelMeans, "compute_features", refuse_to_compute)
    frames = frames_of(measure(real, fake, PROTOCOL, CPU))
    assert frames["fid"] is None
    assert frames["refused"] == (
        "a per-frame distance needs more than 96 frames on each side, got 96 real and 96 generated"
    )


@pytest.mark.parametrize("kept", ["real", "fake"])
@pytest.mark.usefixtures("weights")
def test_kept_features_have_no_frames(
    real: Path, fake: Path, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(real, fake, PROTOCOL, FvdOptions(device="cpu", out=tmp_path))
    sides = {"real": real, "fake": fake} | {kept: tmp_path / f"{kept}_features.npz"}
    monkeypatch.setattr(fvd, "compute_features", refuse_to_compute)
    place = {"real": real, "fake": fake}[kept]
    message = f"{kept}_features.npz: --frames looks at .* expected the videos themselves, which lay in {place}$"
    with pytest.raises(StbenchError, match=message):
        measure(**sides, protocol=PROTOCOL, options=CPU)


def test_missing_weights_are_refused_before_any_work(
    real: Path, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STBENCH_INCEPTION", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fvd, "compute_features", refuse_to_compute)
    options = replace(CPU, out=tmp_path / "out")
    with pytest.raises(StbenchError, match=r"inception: weights not found; .*STBENCH_INCEPTION=PATH"):
        measure(real, fake, PROTOCOL, options)
    with pytest.raises(StbenchError, match=r"inception: weights names .*nothing\.pth, which is not a file"):
        measure(real, fake, PROTOCOL, replace(options, frame_weights=tmp_path / "nothing.pth"))
    with pytest.raises(StbenchError, match=r"--frame-weights some\.pth: expected --frames with it"):
        measure(real, fake, PROTOCOL, replace(options, frames=False, frame_weights=Path("some.pth")))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("weights")
def test_a_detector_of_frames_is_none_of_clips(real: Path, fake: Path) -> None:
    protocol = replace(PROTOCOL, detector="inception", preprocessing=OPEN)
    with pytest.raises(StbenchError, match=r"inception judges single frames, .* --frames adds the FID by inception"):
        measure(real, fake, protocol, FvdOptions(device="cpu"))


def test_the_command(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STBENCH_INCEPTION")
    for name, seed in (("real", 2), ("fake", 3)):
        np.savez(tmp_path / f"{name}.npz", clips=moving_shapes(70, 4, seed))  # more than shapes3d has features
    words = ["fvd", str(tmp_path / "real.npz"), str(tmp_path / "fake.npz"), "protocol.num_frames=4"]
    words += ["protocol.num_real=70", "protocol.num_fake=70", "--no-control", "--device", "cpu"]
    words += ["--frames", "--frame-weights", str(weights)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    clips = (features_of(moving_shapes(70, 4, seed)) for seed in (2, 3))
    line = next(line for line in done.output.splitlines() if line.startswith("FID"))
    assert line == f"FID [inception], single frames  {frechet_distance(*clips):.2f}  (280 real, 280 generated frames)"

    monkeypatch.setattr(ChannelMeans, "feature_dim", 280)
    refused = CliRunner().invoke(app, words)
    assert "FID [inception], single frames  refused: a per-frame distance needs more than 280 frames" in refused.output
    assert isinstance(refused.exception, FinishedInPart)
    assert str(refused.exception).startswith("FID refused: a per-frame distance needs")
