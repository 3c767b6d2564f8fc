"""The names of VideoMAE's weights: in VideoMAE v2's release, in transformers' files, and in `videomae.VideoMAE`.

In all of them keys have no bias. The published code keeps one matrix for queries, keys and values; transformers splits
it, and called the biases q_bias and v_bias before version 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stbench.errors import StbenchError

# Heads by width, from VideoMAE v2's modeling_finetune.py: small, base, large, huge, giant. Weights do not tell them.
_HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
# Of every norm in the same file; its clips have 16 frames of 224 pixels.
PUBLISHED_NORM_EPS = 1e-6
_IMAGE_SIZE, _NUM_FRAMES = 224, 16

_PUBLISHED_NAMES = (
    (r"^patch_embed\.proj\.", "encoder.embeddings.patch_embeddings.projection."),
    (r"^fc_norm\.", "norm."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.encoder.layer.\1.layernorm_before."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.encoder.layer.\1.layernorm_after."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.encoder.layer.\1.attention.output.dense."),
    (r"^blocks\.(\d+)\.attn\.q_bias$", r"encoder.encoder.layer.\1.attention.attention.query.bias"),
    (r"^blocks\.(\d+)\.attn\.v_bias$", r"encoder.encoder.layer.\1.attention.attention.value.bias"),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.encoder.layer.\1.attention.attention."),
    (r"^blocks\.(\d+)\.mlp\.fc1\.", r"encoder.encoder.layer.\1.intermediate.dense."),
    (r"^blocks\.(\d+)\.mlp\.fc2\.", r"encoder.encoder.layer.\1.output.dense."),
)
_TRANSFORMERS_NAMES = (
    (r"^(videomae\.)?(embeddings|encoder|layernorm)\.", r"encoder.\2."),
    (r"^fc_norm\.", "norm."),
    (r"\.attention\.q_bias$", ".attention.query.bias"),
    (r"\.attention\.v_bias$", ".attention.value.bias"),
)
# What classifies or reconstructs, after the features.
_PUBLISHED_HEAD = ("head.",)
_TRANSFORMERS_HEADS = ("classifier.", "decoder.", "encoder_to_decoder.", "mask_token")


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of VideoMAE v2's finetuned layout."""
    return "patch_embed.proj.weight" in state and "fc_norm.weight" in state


def published_config(state: Mapping[str, Tensor], origin: object) -> dict[str, Any]:
    """Arguments of transformers' VideoMAEConfig, read from the shapes of published weights.

    Raises:
        StbenchError: a width that none of the published models has, blocks of another kind.
    """
    width, _, tubelet, patch, _ = state["patch_embed.proj.weight"].shape
    if width not in _HEADS:
        raise StbenchError(f"{origin}: VideoMAE v2 has the widths {', '.join(map(str, _HEADS))}, got {width}")
    if "blocks.0.mlp.fc1.weight" not in state:
        raise StbenchError(f"{origin}: weights of another network: blocks.0.mlp.fc1.weight is missing")
    return {
        "image_size": _IMAGE_SIZE,
        "patch_size": patch,
        "num_frames": _NUM_FRAMES,
        "tubelet_size": tubelet,
        "hidden_size": width,
        "num_hidden_layers": 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks.")),
        "num_attention_heads": _HEADS[width],
        "intermediate_size": len(state["blocks.0.mlp.fc1.weight"]),
        "layer_norm_eps": PUBLISHED_NORM_EPS,
        "use_mean_pooling": True,
    }


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights by the names of `videomae.VideoMAE`, without the classifier."""
    kept = {name: value for name, value in state.items() if not name.startswith(_PUBLISHED_HEAD)}
    renamed = _rename(kept, _PUBLISHED_NAMES)
    split: dict[str, Tensor] = {}
    for name, value in renamed.items():
        if name.endswith(".qkv.weight"):
            parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
            split |= {name.replace("qkv", part): rows for part, rows in parts}
        else:
            split[name] = value
    return split


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of transformers' files by the names of `videomae.VideoMAE`, without what follows the features."""
    kept = {name: value for name, value in state.items() if not name.startswith(_TRANSFORMERS_HEADS)}
    return _rename(kept, _TRANSFORMERS_NAMES)


def _rename(state: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value.float()
    return renamed
