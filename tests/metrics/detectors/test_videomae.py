"""VideoMAE with tiny random weights, in transformers' layout and in the published one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from safetensors.torch import load_file, save_file
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.detectors import Detector, build_detector, extract_features

transformers = pytest.importorskip("transformers", reason="VideoMAE needs transformers")

CONFIG: dict[str, Any] = {
    "image_size": 224,
    "patch_size": 56,
    "num_frames": 4,
    "tubelet_size": 2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
}
KINDS = ("VideoMAEForVideoClassification", "VideoMAEForPreTraining", "VideoMAEModel")


def _model(kind: str) -> Any:
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.VideoMAEConfig(**CONFIG, use_mean_pooling=kind == KINDS[0]))
    for parameter in model.parameters():  # biases and norms as well, which start at 0 and 1
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def _saved(folder: Path, kind: str = KINDS[0]) -> Path:
    _model(kind).save_pretrained(folder / kind)
    return folder / kind


def _clips(N: int = 2, F: int = 4) -> Tensor:
    return torch.rand((N, 3, F, 224, 224), generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_mean_of_transformers_tokens(tmp_path: Path, kind: str) -> None:
    detector, model = build_detector("videomae", _saved(tmp_path, kind)), _model(kind)
    encoder = model if kind == "VideoMAEModel" else model.videomae
    with torch.no_grad():
        expected = encoder((_clips() + 1).transpose(1, 2) / 2).last_hidden_state.mean(dim=1)  # cd-fvd stays in [0, 1]
        expected = model.fc_norm(expected) if kind == KINDS[0] else expected
    torch.testing.assert_close(detector(_clips()), expected, rtol=1e-4, atol=1e-5)


def test_imagenet_preprocessing_normalises(tmp_path: Path) -> None:
    detector, model = build_detector("videomae", _saved(tmp_path), "imagenet"), _model(KINDS[0])
    mean, std = (torch.tensor(value).reshape(3, 1, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        tokens = model.videomae((((_clips() + 1) / 2 - mean) / std).transpose(1, 2)).last_hidden_state
        expected = model.fc_norm(tokens.mean(dim=1))
    torch.testing.assert_close(detector(_clips()), expected, rtol=1e-4, atol=1e-5)


def test_width_and_frames_come_from_the_weights(tmp_path: Path) -> None:
    detector = build_detector("videomae", _saved(tmp_path))
    assert (detector.feature_dim, detector.min_frames, detector.max_frames) == (32, 4, 4)
    assert extract_features(detector, [_clips(1), _clips(2)], 3, "clips").shape == (3, 32)
    with pytest.raises(StbenchError, match="videomae: needs exactly 4 frames a clip, got 6"):
        detector(_clips(F=6))


def test_features_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    detector = build_detector("videomae", _saved(tmp_path))
    one_by_one = torch.cat([detector(clip[None]) for clip in _clips(3)])
    torch.testing.assert_close(detector(_clips(3)), one_by_one, rtol=1e-5, atol=1e-5)


_BIAS_NAMES = (("query.bias", "q_bias"), ("value.bias", "v_bias"))


@pytest.mark.parametrize("old", [True, False])
def test_biases_are_loaded_by_their_names_before_and_after_version_5(tmp_path: Path, old: bool) -> None:
    folder = _saved(tmp_path)
    before = build_detector("videomae", folder)(_clips())
    state = load_file(folder / "model.safetensors")
    for new_name, old_name in _BIAS_NAMES:
        here, there = (new_name, old_name) if old else (old_name, new_name)
        state = {name.replace(here, there): value for name, value in state.items()}
    assert sum(name.endswith(_BIAS_NAMES[0][old]) for name in state) == 2
    save_file(state, folder / "model.safetensors")
    assert torch.equal(build_detector("videomae", folder)(_clips()), before)


def test_the_configuration_is_part_of_the_hash(tmp_path: Path) -> None:
    folder = _saved(tmp_path)
    before = build_detector("videomae", folder).weights_sha256
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    assert build_detector("videomae", folder).weights_sha256 != before


class TestPublishedFile:
    """VideoMAE v2's names; the small model's width, two blocks and large patches."""

    @pytest.fixture
    def state(self) -> dict[str, Tensor]:
        D, hidden = 384, 64
        shapes: dict[str, tuple[int, ...]] = {
            "patch_embed.proj.weight": (D, 3, 2, 56, 56),
            "patch_embed.proj.bias": (D,),
            "fc_norm.weight": (D,),
            "fc_norm.bias": (D,),
            "head.weight": (174, D),
            "head.bias": (174,),
        }
        for block in ("blocks.0", "blocks.1"):
            shapes |= {f"{block}.{norm}.{part}": (D,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
            shapes |= {f"{block}.attn.{part}": (D,) for part in ("q_bias", "v_bias", "proj.bias")}
            shapes |= {f"{block}.attn.qkv.weight": (3 * D, D), f"{block}.attn.proj.weight": (D, D)}
            shapes |= {f"{block}.mlp.fc1.weight": (hidden, D), f"{block}.mlp.fc1.bias": (hidden,)}
            shapes |= {f"{block}.mlp.fc2.weight": (D, hidden), f"{block}.mlp.fc2.bias": (D,)}
        generator = torch.Generator().manual_seed(0)
        return {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    def _reference(self, s: dict[str, Tensor], clips: Tensor) -> Tensor:
        """The published `forward_features` written out: heads of 64 channels, keys without a bias, eps 1e-6."""
        D, heads = 384, 6
        x = functional.conv3d(clips, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], stride=(2, 56, 56))
        x = x.flatten(2).transpose(1, 2)
        N, tokens, _ = x.shape
        channel, place = torch.arange(D, dtype=torch.float64), torch.arange(tokens, dtype=torch.float64)[:, None]
        angles = place / 10000 ** (2 * (channel // 2) / D)
        x = x + torch.where(channel % 2 == 0, angles.sin(), angles.cos()).float()
        for block in ("blocks.0", "blocks.1"):
            y = functional.layer_norm(x, (D,), s[f"{block}.norm1.weight"], s[f"{block}.norm1.bias"], 1e-6)
            bias = torch.cat([s[f"{block}.attn.q_bias"], torch.zeros(D), s[f"{block}.attn.v_bias"]])
            qkv = y @ s[f"{block}.attn.qkv.weight"].T + bias
            q, k, v = qkv.reshape(N, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
            y = ((q * (D // heads) ** -0.5 @ k.mT).softmax(dim=-1) @ v).transpose(1, 2).reshape(N, tokens, D)
            x = x + y @ s[f"{block}.attn.proj.weight"].T + s[f"{block}.attn.proj.bias"]
            y = functional.layer_norm(x, (D,), s[f"{block}.norm2.weight"], s[f"{block}.norm2.bias"], 1e-6)
            y = functional.gelu(y @ s[f"{block}.mlp.fc1.weight"].T + s[f"{block}.mlp.fc1.bias"])
            x = x + y @ s[f"{block}.mlp.fc2.weight"].T + s[f"{block}.mlp.fc2.bias"]
        return functional.layer_norm(x.mean(dim=1), (D,), s["fc_norm.weight"], s["fc_norm.bias"], 1e-6)

    def _build(self, folder: Path, content: Any) -> Detector:
        torch.save(content, folder / "vit_g.pth")
        return build_detector("videomae", folder / "vit_g.pth")

    @pytest.mark.parametrize("key", ["module", "model", None])
    def test_features_are_those_of_the_published_layers(
        self, state: dict[str, Tensor], tmp_path: Path, key: str | None
    ) -> None:
        detector = self._build(tmp_path, state if key is None else {key: state})
        assert (detector.feature_dim, detector.min_frames, detector.max_frames) == (384, 16, 16)
        expected = self._reference(state, (_clips(F=16) + 1) / 2)
        torch.testing.assert_close(detector(_clips(F=16)), expected, rtol=1e-4, atol=1e-5)

    def test_missing_biases_are_refused_not_zero(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        del state["blocks.1.attn.q_bias"]
        with pytest.raises(StbenchError, match=r"1 missing \(encoder\.encoder\.layer\.1\.attention.*query\.bias\)"):
            self._build(tmp_path, state)

    def test_another_layout_names_the_folder_as_the_way(self, tmp_path: Path) -> None:
        with pytest.raises(StbenchError, match=r"vit_g\.pth: not a VideoMAE v2 .* is named by its folder"):
            self._build(tmp_path, {"encoder.patch_embed.proj.weight": torch.zeros(1)})

    def test_unknown_width(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        state["patch_embed.proj.weight"] = torch.zeros(100, 3, 2, 14, 14)
        with pytest.raises(StbenchError, match="has the widths 384, 768, 1024, 1280, 1408, got 100"):
            self._build(tmp_path, state)


class TestWrongFolder:
    def test_without_configuration(self, tmp_path: Path) -> None:
        with pytest.raises(StbenchError, match=r"holds no config\.json"):
            build_detector("videomae", tmp_path)

    def test_without_weights(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "videomae"}')
        with pytest.raises(StbenchError, match=r"holds no weights: expected \*\.safetensors or pytorch_model"):
            build_detector("videomae", tmp_path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("<html>", r"config\.json is not JSON"),
            ('{"model_type": "vit"}', "expected model_type videomae, got 'vit'"),
            ("[]", "expected model_type videomae, got None"),
        ],
    )
    def test_another_configuration(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(StbenchError, match=message):
            build_detector("videomae", tmp_path)

    @pytest.mark.parametrize("change", [{"num_attention_heads": 5}, {"hidden_size": "wide"}])
    def test_impossible_configuration(self, tmp_path: Path, change: dict[str, Any]) -> None:
        folder = _saved(tmp_path)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(StbenchError, match=r"config\.json: transformers refuses it: ") as caught:
            build_detector("videomae", folder)
        assert "\n" not in str(caught.value)

    def test_weights_of_another_size(self, tmp_path: Path) -> None:
        folder = _saved(tmp_path)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
        with pytest.raises(StbenchError, match=r"weights of another network: 15 missing \(encoder\.encoder\.layer\.2"):
            build_detector("videomae", folder)

    def test_frames_of_another_size(self, tmp_path: Path) -> None:
        folder = tmp_path / "small"
        transformers.VideoMAEModel(transformers.VideoMAEConfig(**{**CONFIG, "image_size": 112})).save_pretrained(folder)
        with pytest.raises(StbenchError, match="for frames of 112 pixels; the preprocessing cdfvd makes 224"):
            build_detector("videomae", folder)


def test_without_transformers_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _saved(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(StbenchError, match=r"needs transformers: pip install 'stbench\[videomae\]'"):
        build_detector("videomae", folder)
