"""LPIPS against torchmetrics' own, on random weights that a test makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as reference

from stbench.errors import StbenchError
from stbench.metrics.fidelity import FidelityTally
from stbench.metrics.lpips import LEAST_SIZE, NAME, VARIABLE, Lpips, find_lpips
from stbench.storage.hashing import file_sha256

# Of AlexNet's convolutions, by their places among its layers: channels out and in, and the size of a kernel.
CONVOLUTIONS = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's, its classifier cut short."""
    draw = torch.Generator().manual_seed(0)
    state = {"classifier.1.weight": torch.zeros(2, 2)}
    for place, (out, given, size) in CONVOLUTIONS.items():
        scale = (given * size**2) ** -0.5
        state[f"features.{place}.weight"] = torch.randn(out, given, size, size, generator=draw) * scale
        state[f"features.{place}.bias"] = torch.randn(out, generator=draw) * 0.1
    path = tmp_path_factory.mktemp("lpips") / NAME
    torch.save(state, path)
    return path


def images(seed: int, size: int = 40) -> Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_it_is_torchmetrics_distance(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Lpips(weights)

    def features(net: str, pretrained: bool = False) -> nn.Sequential:
        assert net == "alexnet"
        return nn.Sequential(*ours.features, nn.MaxPool2d(3, 2))

    monkeypatch.setattr(reference, "_get_tv_model_features", features)
    theirs = reference._LPIPS(net="alex", pnet_rand=True)
    expected = theirs(images(0), images(1)).flatten()
    assert expected.min() > 0.01
    torch.testing.assert_close(ours(images(0), images(1)), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(ours(images(0), images(0)), torch.zeros(3))


def test_smaller_images_leave_nothing(weights: Path) -> None:
    network = Lpips(weights)
    assert network(images(0, LEAST_SIZE), images(1, LEAST_SIZE)).shape == (3,)
    with pytest.raises(RuntimeError, match="too small"):
        network(images(0, LEAST_SIZE - 1), images(1, LEAST_SIZE - 1))


def test_it_is_measured_where_its_weights_are(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = (np.random.default_rng(seed).integers(0, 256, (1, 3, 32, 32, 3), np.uint8) for seed in (0, 1))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("stbench.paths.user_cache", lambda: weights.parent / "nowhere")
    assert find_lpips() is None
    monkeypatch.setattr("stbench.paths.user_cache", lambda: weights.parent)
    tally = FidelityTally([0, 2])
    tally.add(made, real)
    found = tally.scores()
    frames = [torch.from_numpy(clips[0, [0, 2]]).permute(0, 3, 1, 2) / 127.5 - 1 for clips in (made, real)]
    assert found and found.lpips == pytest.approx(Lpips(weights)(*frames).mean().item(), rel=1e-5)
    assert found.lpips_weights_sha256 == file_sha256(weights)
    small = FidelityTally([0])
    small.add(made[:, :, :16, :16], real[:, :, :16, :16])
    assert (small.scores().lpips, small.scores().lpips_weights_sha256) == (None, None)


def test_a_file_that_is_none_is_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.pth"))
    with pytest.raises(StbenchError, match=r"nowhere\.pth does not exist"):
        find_lpips()
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other.pth"))
    with pytest.raises(StbenchError, match=r"other\.pth: weights of another network"):
        find_lpips()
