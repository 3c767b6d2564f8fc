"""I3D with random weights here; with the published ones where STBENCH_I3D names them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector, build_detector, extract_features
from stbench.metrics.detectors.i3d import TRUST_VARIABLE, load_network
from stbench.metrics.detectors.i3d_network import I3D
from stbench.metrics.frechet import frechet_distance
from stbench.storage.hashing import file_sha256


@pytest.fixture(scope="module")
def network() -> I3D:
    torch.manual_seed(0)
    return I3D().eval()


@pytest.fixture(scope="module")
def published_names(network: I3D) -> dict[str, Tensor]:
    """The 287 tensors of a converted file: no counters of batches."""
    return {name: value for name, value in network.state_dict().items() if "num_batches_tracked" not in name}


@pytest.mark.parametrize(("suffix", "counters"), [(".pt", True), (".pt", False), (".safetensors", False)])
def test_both_published_forms_are_loaded_whole(
    network: I3D, published_names: dict[str, Tensor], tmp_path: Path, suffix: str, counters: bool
) -> None:
    state = network.state_dict() if counters else published_names
    path = tmp_path / f"i3d{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    loaded = load_network(path).state_dict()
    for name, value in published_names.items():
        assert torch.equal(loaded[name], value)


class _Scripted(nn.Module):
    """Takes the call of StyleGAN-V's TorchScript file, and tells what it was given."""

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        assert return_features and not rescale and not resize
        return x.mean(dim=(2, 3, 4)).repeat(1, 134)[:, :400]


SaveScript = Callable[[Path, nn.Module], None]


@pytest.fixture
def save_trusted(monkeypatch: pytest.MonkeyPatch) -> SaveScript:
    """Writes a TorchScript file, and says that it is trusted."""

    def save(path: Path, module: nn.Module) -> None:
        torch.jit.save(torch.jit.script(module), path)
        monkeypatch.setenv(TRUST_VARIABLE, file_sha256(path))

    return save


def test_a_torchscript_that_nobody_trusts_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.save(torch.jit.script(_Scripted()), path)
    loaded: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *args, **kwargs: loaded.append(args))
    monkeypatch.setenv(TRUST_VARIABLE, "0" * 64)
    with pytest.raises(StbenchError, match=rf"TorchScript is code.*set {TRUST_VARIABLE}={file_sha256(path)}$"):
        build_detector("i3d", weights=path)
    assert loaded == []


def test_torchscript_file_is_called_on_ready_clips(tmp_path: Path, save_trusted: SaveScript) -> None:
    path = tmp_path / "i3d_torchscript.pt"
    save_trusted(path, _Scripted())
    features = build_detector("i3d", weights=path)(torch.full((2, 3, 10, 32, 32), -0.5))
    assert features.shape == (2, 400)
    torch.testing.assert_close(features, torch.full((2, 400), -0.5))


class _ScriptedOther(nn.Module):
    def forward(self, x: Tensor, detach: bool = True) -> Tensor:
        return x


def test_torchscript_of_another_network_is_refused_by_its_arguments(tmp_path: Path, save_trusted: SaveScript) -> None:
    path = tmp_path / "c3d_ucf101.pt"
    save_trusted(path, _ScriptedOther())
    with pytest.raises(StbenchError, match=r"c3d_ucf101\.pt: TorchScript of another network: .* x, detach; .* rescale"):
        build_detector("i3d", weights=path)


@pytest.mark.parametrize(("preprocessing", "white"), [("videogpt", 1.0), ("videogpt-2021-06-02", 0.5)])
def test_videogpt_saw_half_the_range_in_its_first_week(
    preprocessing: str, white: float, tmp_path: Path, save_trusted: SaveScript
) -> None:
    path = tmp_path / "i3d_torchscript.pt"
    save_trusted(path, _Scripted())
    features = build_detector("i3d", weights=path, preprocessing=preprocessing)(torch.ones(1, 3, 10, 32, 32))
    torch.testing.assert_close(features, torch.full((1, 400), white))


class TestWrongWeights:
    def test_web_page_saved_as_weights(self, tmp_path: Path) -> None:
        path = tmp_path / "i3d_pretrained_400.pt"
        path.write_text("\n<!DOCTYPE html><html><title>Sign in</title></html>")
        with pytest.raises(StbenchError, match=r"i3d_pretrained_400\.pt: this is a web page"):
            build_detector("i3d", weights=path)

    @pytest.mark.parametrize("kind", ["weights", "torchscript", "safetensors"])
    def test_truncated_file(self, published_names: dict[str, Tensor], tmp_path: Path, kind: str) -> None:
        path = tmp_path / ("cut.safetensors" if kind == "safetensors" else "cut.pt")
        if kind == "torchscript":
            torch.jit.save(torch.jit.script(_Scripted()), path)
        elif kind == "safetensors":
            save_file(published_names, path)
        else:
            torch.save(published_names, path)
        half = path.stat().st_size // 2
        path.write_bytes(path.read_bytes()[:half])
        with pytest.raises(StbenchError, match=rf"cut\..*cannot be read as weights \({half} bytes"):
            build_detector("i3d", weights=path)

    def test_pickle_with_code(self, tmp_path: Path) -> None:
        path = tmp_path / "model.pt"
        torch.save(nn.Linear(2, 2), path)
        with pytest.raises(StbenchError, match=r"model\.pt: cannot be read as weights"):
            build_detector("i3d", weights=path)

    def test_another_network(self, published_names: dict[str, Tensor], tmp_path: Path) -> None:
        path = tmp_path / "other.pt"
        state = {name: value for name, value in published_names.items() if not name.startswith("Mixed_5c.b0.conv")}
        state["extra.weight"] = torch.zeros(1)
        state["logits.conv3d.bias"] = torch.zeros(600)
        torch.save(state, path)
        with pytest.raises(StbenchError) as caught:
            build_detector("i3d", weights=path)
        assert "1 missing (Mixed_5c.b0.conv3d.weight); 1 left over (extra.weight)" in str(caught.value)
        assert "1 of another shape (logits.conv3d.bias (600,) instead of (400,))" in str(caught.value)

    def test_not_a_state_dict(self, tmp_path: Path) -> None:
        path = tmp_path / "list.pt"
        torch.save([torch.zeros(2)], path)
        with pytest.raises(StbenchError, match=r"list\.pt: expected a mapping of names to tensors, got list"):
            build_detector("i3d", weights=path)


class TestFindingWeights:
    @pytest.fixture(autouse=True)
    def empty_cache(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("STBENCH_I3D", raising=False)
        return tmp_path

    def test_missing_weights_say_where_to_get_them_and_how_to_name_them(self) -> None:
        with pytest.raises(StbenchError) as caught:
            build_detector("i3d")
        for part in ("deepmind/i3d-kinetics-400", "StyleGAN-V", "VideoGPT", "weights=PATH", "STBENCH_I3D=PATH"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_environment_variable_that_names_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STBENCH_I3D", "/nowhere/i3d.pt")
        with pytest.raises(StbenchError, match=r"variable STBENCH_I3D names /nowhere/i3d.pt, which is not a file"):
            build_detector("i3d")

    def test_argument_comes_before_environment_before_cache(
        self, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = empty_cache / "stbench"
        cache.mkdir(parents=True)
        for place in ("argument", "environment", "cache"):
            (cache / "i3d.pt" if place == "cache" else empty_cache / place).write_text(f"<html>{place}")
        monkeypatch.setenv("STBENCH_I3D", str(empty_cache / "environment"))
        with pytest.raises(StbenchError, match="argument: this is a web page"):
            build_detector("i3d", weights=empty_cache / "argument")
        with pytest.raises(StbenchError, match="environment: this is a web page"):
            build_detector("i3d")
        monkeypatch.delenv("STBENCH_I3D")
        with pytest.raises(StbenchError, match=r"i3d\.pt: this is a web page"):
            build_detector("i3d")

    def test_two_files_in_the_cache_are_not_guessed_between(self, empty_cache: Path) -> None:
        cache = empty_cache / "stbench"
        cache.mkdir(parents=True)
        for name in ("i3d.pt", "i3d_torchscript.pt"):
            (cache / name).touch()
        with pytest.raises(StbenchError, match=r"several weights files .* \(i3d.pt, i3d_torchscript.pt\)"):
            build_detector("i3d")


# torch calls TorchScript deprecated; the published file has no other form.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


@pytest.mark.skipif("STBENCH_I3D" not in os.environ, reason="STBENCH_I3D does not name published I3D weights")
class TestPublishedWeights:
    """Figures printed in the README of JunyaoHu/common_metrics_on_video_quality and in universome/fvd-comparison."""

    @pytest.fixture(scope="class")
    def detector(self) -> Detector:
        return build_detector("i3d")

    # Zeros against ones in [0, 1]: 8 videos of F frames, 64 x 64.
    @pytest.mark.parametrize(("F", "expected"), [(30, 151.2565), (16, 152.9175), (10, 569.2296)])
    def test_black_against_white(self, detector: Detector, F: int, expected: float) -> None:
        sides = [detector(torch.full((8, 3, F, 64, 64), value)) for value in (-1.0, 1.0)]
        assert frechet_distance(*sides) == pytest.approx(expected, rel=2e-3)

    def test_uniform_noise_of_two_seeds(self, detector: Detector) -> None:
        features = [extract_features(detector, self._noise(seed), 128, f"noise {seed}") for seed in (1, 2)]
        assert frechet_distance(*features) == pytest.approx(10.138085, rel=1e-3)

    def _noise(self, seed: int) -> Iterator[Tensor]:
        """The numbers of the script, which hands [0, 1] to the network as it is."""
        stream = np.random.RandomState(seed)
        for _ in range(128):
            clip = torch.from_numpy(stream.rand(16, 224, 224, 3).astype(np.float32))
            yield clip.permute(3, 0, 1, 2)[None]
