"""Names of VideoMAE's weights in both layouts, and the configuration that published shapes tell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from stbench.errors import StbenchError
from stbench.metrics.detectors.videomae_layout import (
    from_published,
    from_transformers,
    is_published,
    published_config,
)


def published(width: int = 384, blocks: int = 2) -> dict[str, Tensor]:
    """Shapes of a published file, on the meta device but for one matrix."""
    with torch.device("meta"):
        state = {
            "patch_embed.proj.weight": torch.empty(width, 3, 2, 16, 16),
            "patch_embed.proj.bias": torch.empty(width),
            "fc_norm.weight": torch.empty(width),
            "head.weight": torch.empty(174, width),
        }
        for index in range(blocks):
            state[f"blocks.{index}.attn.q_bias"] = torch.empty(width)
            state[f"blocks.{index}.attn.v_bias"] = torch.empty(width)
            state[f"blocks.{index}.attn.proj.weight"] = torch.empty(width, width)
            state[f"blocks.{index}.mlp.fc1.weight"] = torch.empty(4 * width, width)
            state[f"blocks.{index}.mlp.fc2.bias"] = torch.empty(width)
            state[f"blocks.{index}.norm1.weight"] = torch.empty(width)
    return state


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16), (1280, 16), (1408, 16)])
def test_the_configuration_follows_from_the_shapes(width: int, heads: int) -> None:
    expected: dict[str, Any] = {
        "image_size": 224,
        "patch_size": 16,
        "num_frames": 16,
        "tubelet_size": 2,
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "layer_norm_eps": 1e-6,
        "use_mean_pooling": True,
    }
    assert published_config(published(width), "file") == expected


def test_other_widths_and_blocks_are_refused() -> None:
    with pytest.raises(StbenchError, match=r"^file: VideoMAE v2 has the widths .*1408, got 100$"):
        published_config(published(100), "file")
    with pytest.raises(
        StbenchError, match=r"^file: weights of another network: blocks\.0\.mlp\.fc1\.weight is missing$"
    ):
        published_config(published(blocks=0), "file")


def test_only_the_finetuned_layout_is_published() -> None:
    state = published()
    assert is_published(state)
    assert not is_published({name: value for name, value in state.items() if name != "fc_norm.weight"})
    assert not is_published(from_published(state))


def test_published_names_become_those_of_the_network() -> None:
    renamed = from_published(published(blocks=1))
    layer = "encoder.encoder.layer.0"
    assert sorted(renamed) == [
        "encoder.embeddings.patch_embeddings.projection.bias",
        "encoder.embeddings.patch_embeddings.projection.weight",
        f"{layer}.attention.attention.query.bias",
        f"{layer}.attention.attention.value.bias",
        f"{layer}.attention.output.dense.weight",
        f"{layer}.intermediate.dense.weight",
        f"{layer}.layernorm_before.weight",
        f"{layer}.output.dense.bias",
        "norm.weight",
    ]


def test_one_matrix_is_split_into_queries_keys_and_values() -> None:
    rows = torch.arange(18, dtype=torch.float16).reshape(9, 2)
    split = from_published({"blocks.3.attn.qkv.weight": rows})
    layer = "encoder.encoder.layer.3.attention.attention"
    assert list(split) == [f"{layer}.{part}.weight" for part in ("query", "key", "value")]
    for index, part in enumerate(split.values()):
        assert part.dtype == torch.float32
        assert torch.equal(part, rows[3 * index : 3 * index + 3].float())


def test_names_of_transformers_with_and_without_prefix_and_both_spellings_of_biases() -> None:
    one = torch.zeros(1)
    projection, layer = "embeddings.patch_embeddings.projection.weight", "encoder.layer.0.attention.attention"
    names = {
        f"videomae.{projection}": f"encoder.{projection}",
        f"{layer}.q_bias": f"encoder.{layer}.query.bias",
        f"videomae.{layer}.value.bias": f"encoder.{layer}.value.bias",
        "fc_norm.bias": "norm.bias",
    }
    dropped = ("classifier.weight", "decoder.norm.bias", "encoder_to_decoder.weight", "mask_token")
    assert list(from_transformers(dict.fromkeys([*names, *dropped], one))) == list(names.values())
