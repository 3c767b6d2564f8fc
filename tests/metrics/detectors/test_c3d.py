"""C3D with small random weights; the published file has the same names and other sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from safetensors.torch import save_file
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.detectors import build_detector, c3d

CHANNELS = {"conv1a": 2, "conv2a": 3, "conv3a": 3, "conv3b": 4, "conv4a": 4, "conv4b": 5, "conv5a": 5, "conv5b": 6}


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    monkeypatch.setattr(c3d, "_CONVOLUTIONS", CHANNELS)
    monkeypatch.setattr(c3d, "_HIDDEN", 7)
    torch.manual_seed(0)
    return {name: torch.randn_like(value) * 0.3 for name, value in c3d.C3D().state_dict().items()}


@pytest.fixture
def mean() -> Tensor:
    return torch.rand(c3d.MEAN_SHAPE, generator=torch.Generator().manual_seed(1)) * 255


def _save_published(folder: Path, state: dict[str, Tensor], mean: Tensor | None) -> Path:
    """The two files of TGANv2's release."""
    arrays = {name.replace(".weight", "/W").replace(".bias", "/b"): value.numpy() for name, value in state.items()}
    np.savez(folder / "conv3d_deepnetA_ucf.npz", **arrays)  # type: ignore[arg-type]
    if mean is not None:
        np.savez(folder / "mean2.npz", mean=mean.numpy())
    return folder / "conv3d_deepnetA_ucf.npz"


def _reference(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """The layers of the chainer code: pooling windows cover everything, the last one may hold less."""
    x = inputs
    for name in CHANNELS:
        x = functional.conv3d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1).clamp(min=0)
        if name in ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b"):
            frames = 1 if name == "conv1a" else 2
            missing = [amount for size in x.shape[:2:-1] for amount in (0, size % 2)]
            x = functional.max_pool3d(functional.pad(x, missing, value=-torch.inf), (frames, 2, 2))
    x = x.reshape(len(x), -1)
    for name in ("fc6", "fc7"):
        x = (x @ state[f"{name}.weight"].T + state[f"{name}.bias"]).clamp(min=0)
    return x @ state["fc8.weight"].T + state["fc8.bias"]


def test_classes_are_in_the_order_of_ucf101s_list() -> None:
    """It goes by letters alone: folders sorted with capitals first have other numbers, but the same names."""
    assert len(set(c3d.CLASSES)) == 101
    assert sorted(c3d.CLASSES, key=str.lower) == list(c3d.CLASSES) != sorted(c3d.CLASSES)
    assert c3d.CLASSES.index("HammerThrow") == 35  # 36 in the list, which counts from 1


def test_parameters_are_those_of_the_paper_with_101_classes() -> None:
    with torch.device("meta"):
        network = c3d.C3D()
    assert sum(parameter.numel() for parameter in network.parameters()) == 78_409_573
    assert network.fc6.weight.shape == (4096, 8192)


@pytest.mark.parametrize(
    ("preprocessing", "corner"), [("tgan2", (slice(8, 120), slice(8, 120))), ("tgan", (slice(8, 120), slice(29, 141)))]
)
def test_features_are_the_logits_of_the_published_recipe(
    state: dict[str, Tensor], mean: Tensor, tmp_path: Path, preprocessing: str, corner: tuple[slice, slice]
) -> None:
    detector = build_detector("c3d", _save_published(tmp_path, state, mean), preprocessing)
    clips = torch.rand(2, 3, 16, 128, 128) * 2 - 1
    pixels = (clips + 1) * 127.5
    if preprocessing == "tgan2":
        frames = pixels.transpose(1, 2).flatten(0, 1)
        frames = functional.interpolate(frames, (112, 112), mode="bilinear", align_corners=True)
        ready = frames.unflatten(0, (2, 16)).transpose(1, 2)
    else:
        ready = pixels[..., 8:120, 8:120]
    expected = _reference(state, ready[:, [2, 1, 0]] - mean[:, :, corner[0], corner[1]])  # BGR
    assert expected.std() > 0
    torch.testing.assert_close(detector(clips), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_state_dict_with_its_mean_inside_is_the_same_detector(
    state: dict[str, Tensor], mean: Tensor, tmp_path: Path
) -> None:
    published = build_detector("c3d", _save_published(tmp_path, state, mean))
    save_file({**state, "mean": mean[None]}, tmp_path / "c3d.safetensors")
    converted = build_detector("c3d", tmp_path / "c3d.safetensors")
    clips = torch.rand(1, 3, 16, 32, 32) * 2 - 1
    assert torch.equal(converted(clips), published(clips))
    assert converted.weights_sha256 != published.weights_sha256


def test_another_mean_is_another_detector(state: dict[str, Tensor], mean: Tensor, tmp_path: Path) -> None:
    before = build_detector("c3d", _save_published(tmp_path, state, mean)).weights_sha256
    assert build_detector("c3d", _save_published(tmp_path, state, mean + 1)).weights_sha256 != before


@pytest.mark.parametrize("F", [15, 17])
def test_other_numbers_of_frames_are_refused(state: dict[str, Tensor], mean: Tensor, tmp_path: Path, F: int) -> None:
    detector = build_detector("c3d", _save_published(tmp_path, state, mean))
    with pytest.raises(StbenchError, match=f"c3d: needs exactly 16 frames a clip, got {F}"):
        detector(torch.zeros(1, 3, F, 32, 32))


class TestWrongWeights:
    def test_missing_mean_says_where_it_must_lie(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        with pytest.raises(StbenchError, match=r"hold no mean clip: mean2.npz .* beside them, as .*mean2.npz"):
            build_detector("c3d", _save_published(tmp_path, state, None))

    def test_mean_of_another_shape(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        path = _save_published(tmp_path, state, torch.zeros(3, 16, 112, 112))
        with pytest.raises(StbenchError, match=r"mean clip of shape \(3, 16, 128, 171\), got \(3, 16, 112, 112\)"):
            build_detector("c3d", path)

    def test_mean_under_another_name(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        path = _save_published(tmp_path, state, None)
        np.savez(tmp_path / "mean2.npz", average=np.zeros(c3d.MEAN_SHAPE))
        with pytest.raises(StbenchError, match=r"mean2.npz: expected an array named mean, got average"):
            build_detector("c3d", path)

    def test_another_network(self, state: dict[str, Tensor], mean: Tensor, tmp_path: Path) -> None:
        state["fc8.weight"] = torch.zeros(487, 7)  # Sports-1M
        del state["conv2a.bias"]
        with pytest.raises(
            StbenchError, match=r"1 missing \(conv2a.bias\).*fc8.weight \(487, 7\) instead of \(101, 7\)"
        ):
            build_detector("c3d", _save_published(tmp_path, state, mean))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"<!DOCTYPE html>", "this is a web page"),
            (b"PK\x03\x04 cut", "cannot be read as .npz"),
            (b"nothing of the kind", "cannot be read as .npz"),
        ],
    )
    def test_damaged_file(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "c3d.npz").write_bytes(content)
        with pytest.raises(StbenchError, match=rf"c3d\.npz: {message}"):
            build_detector("c3d", tmp_path / "c3d.npz")

    def test_pickled_objects_are_not_read(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "c3d.npz", code=np.array([{"a": 1}], dtype=object))
        with pytest.raises(StbenchError, match=r"c3d\.npz: cannot be read as \.npz.*allow_pickle=False"):
            build_detector("c3d", tmp_path / "c3d.npz")

    @pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
    def test_torchscript(self, tmp_path: Path) -> None:
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "c3d_ucf101.pt")
        with pytest.raises(StbenchError, match=r"c3d_ucf101\.pt: TorchScript, .* c3d needs conv3d_deepnetA_ucf\.npz"):
            build_detector("c3d", tmp_path / "c3d_ucf101.pt")
