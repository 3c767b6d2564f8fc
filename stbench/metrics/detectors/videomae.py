"""VideoMAE through transformers, the detector of content-debiased FVD: Ge et al. 2024 (arXiv 2404.12391).

The features are the mean of the last layer's patch tokens, normalised where the weights have a norm for it (`fc_norm`
of a finetuned model), as cd-fvd's `forward_features` has them; its code was read. Two layouts are loaded: a folder in
transformers' own (config.json beside the weights), and a file of VideoMAE v2's release, such as the ViT-g finetuned on
Something-Something v2 that cd-fvd uses. That file was not at hand: tests compare random weights with the published
layers written out.

transformers' own loading is not used. Until some release 5.x it dropped the biases of queries and values of every
published file without an error (transformers pull request 48675); here every name and shape must match.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stbench.errors import StbenchError
from stbench.metrics.detectors.base import CatalogueDetector, combined_sha256
from stbench.metrics.detectors.preprocessing import preprocess
from stbench.metrics.detectors.videomae_layout import (
    PUBLISHED_NORM_EPS,
    from_published,
    from_transformers,
    is_published,
    published_config,
)
from stbench.storage.weights import check_tensors, load_strictly, read_weights_file

_WEIGHTS_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
# transformers builds the norm of its classifier with torch's default.
_TRANSFORMERS_NORM_EPS = 1e-5


class VideoMAEDetector(CatalogueDetector):
    """Features (N, D) with D of the weights: 1408 of ViT-g, 768 of ViT-B. Clips have exactly the weights' frames.

    Args:
        weights: folder in transformers' layout, or a file of VideoMAE v2; found as the catalogue says when None.
        preprocessing: "cdfvd" or "imagenet".
    """

    name = "videomae"

    def load(self, path: Path) -> None:
        """Read a folder or a file; the features' width and the frames are the weights'."""
        self.network, files = _load_folder(path) if path.is_dir() else _load_published(path)
        config = self.network.encoder.config
        if config.image_size != self.rule.size:
            raise StbenchError(
                f"{path}: a VideoMAE for frames of {config.image_size} pixels; the preprocessing "
                f"{self.preprocessing} makes {self.rule.size}"
            )
        self.weights_sha256 = combined_sha256(files)
        self.feature_dim = config.hidden_size
        self.min_frames = self.max_frames = config.num_frames

    def compute_features(self, clips: Tensor) -> Tensor:
        """Resize the frames and return the mean token of each clip (N, D)."""
        return self.network(preprocess(clips, self.rule))


class VideoMAE(nn.Module):
    """Transformers' VideoMAE without a head: clips (N, 3, F, H, W) to the mean of their patch tokens (N, D).

    Args:
        config: keyword arguments of transformers' VideoMAEConfig.
        norm_eps: epsilon of the norm that follows the mean; None where there is no such norm.
    """

    def __init__(self, config: Mapping[str, Any], norm_eps: float | None) -> None:
        super().__init__()
        transformers = _import_transformers()
        self.encoder = transformers.VideoMAEModel(transformers.VideoMAEConfig(**config))
        width = self.encoder.config.hidden_size
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(width, eps=norm_eps)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the features of clips that are ready."""
        tokens = self.encoder(clips.transpose(1, 2)).last_hidden_state  # (N, tokens, D)
        return self.norm(tokens.mean(dim=1))


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise StbenchError("the detector videomae needs transformers: pip install 'stbench[videomae]'") from error
    return transformers


def _load_published(path: Path) -> tuple[VideoMAE, list[Path]]:
    content = read_weights_file(path)
    # The releases keep the weights under one of these, beside nothing or the optimiser's state.
    state = check_tensors(next((content[key] for key in ("module", "model") if key in content), content), path)
    if not is_published(state):
        raise StbenchError(
            f"{path}: not a VideoMAE v2 for finetuning (no patch_embed.proj.weight or fc_norm.weight); "
            f"a model in transformers' layout is named by its folder"
        )
    network = VideoMAE(published_config(state, path), PUBLISHED_NORM_EPS)
    load_strictly(network, from_published(state), path)
    return network, [path]


def _load_folder(folder: Path) -> tuple[VideoMAE, list[Path]]:
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise StbenchError(f"{folder}: holds no config.json, which a model in transformers' layout has")
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StbenchError(f"{config_path} is not JSON: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "videomae":
        raise StbenchError(f"{config_path}: expected model_type videomae, got {kind!r}")

    files = next((found for pattern in _WEIGHTS_PATTERNS if (found := sorted(folder.glob(pattern)))), [])
    if not files:
        raise StbenchError(f"{folder}: holds no weights: expected {' or '.join(_WEIGHTS_PATTERNS)}")
    state: dict[str, Tensor] = {}
    for file in files:
        state |= check_tensors(read_weights_file(file), file)
    state = from_transformers(state)

    _import_transformers()
    from huggingface_hub.errors import StrictDataclassError  # which comes with transformers

    try:
        network = VideoMAE(config, _TRANSFORMERS_NORM_EPS if "norm.weight" in state else None)
    except (TypeError, ValueError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise StbenchError(f"{config_path}: transformers refuses it: {reason}") from error
    load_strictly(network, state, folder)
    return network, [config_path, *files]
