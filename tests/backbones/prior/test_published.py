"""The names and shapes of the public diffusion prior."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stbench.backbones.prior.network import DiffusionPrior
from stbench.backbones.prior.published import PriorLayout
from stbench.backbones.published import load_published, to_published
from stbench.errors import StbenchError

Shapes = dict[str, tuple[int, ...]]
TINY: dict[str, Any] = {"depth": 2, "num_heads": 2, "head_dim": 4, "max_text_len": 3, "in_channels": 8}


def layer(index: int, normformer: bool) -> Shapes:
    attention, feed_forward = (f"causal_transformer.layers.{index}.{part}" for part in (0, 1))
    return {
        f"{attention}.norm.g": (8,),
        f"{attention}.null_kv": (2, 4),
        f"{attention}.to_q.weight": (8, 8),
        f"{attention}.to_kv.weight": (8, 8),
        f"{attention}.rotary_emb.freqs": (2,),
        f"{attention}.to_out.0.weight": (8, 8),
        f"{attention}.to_out.1.g": (8,),
        f"{feed_forward}.0.g": (8,),
        f"{feed_forward}.1.weight": (64, 8),
        f"{feed_forward}.5.weight": (8, 32),
        **({f"{feed_forward}.3.g": (32,)} if normformer else {}),
    }


@pytest.mark.parametrize("options", [{}, {"normformer": False, "num_timesteps": 0}], ids=str)
def test_names_and_shapes_of_the_public_network(options: dict[str, Any]) -> None:
    """Every tensor of `DiffusionPriorNetwork(dim=8, depth=2, heads=2, dim_head=4, max_text_len=3)`."""
    expected: Shapes = {
        "learned_query": (8,),
        "null_text_encodings": (1, 3, 8),
        "null_text_embeds": (1, 1, 8),
        "null_image_embed": (1, 8),
        "causal_transformer.rel_pos_bias.relative_attention_bias.weight": (32, 2),
        "causal_transformer.norm.g": (8,),
        "causal_transformer.project_out.weight": (8, 8),
        **layer(0, not options),
        **layer(1, not options),
    }
    if options:
        for name, out, width in (("net.0.0", 16, 8), ("net.1.0", 16, 16), ("net.2", 8, 16)):
            expected |= {f"to_time_embeds.0.1.{name}.weight": (out, width), f"to_time_embeds.0.1.{name}.bias": (out,)}
    else:
        expected["to_time_embeds.0.weight"] = (1000, 8)
    with torch.device("meta"):
        published = to_published(DiffusionPrior(**TINY, **options))
    assert {name: tuple(tensor.shape) for name, tensor in published.items()} == expected


@pytest.mark.parametrize("prefix", ["", "net."])
def test_round_trip_of_the_network_alone_and_of_a_file_of_the_whole_prior(prefix: str) -> None:
    source, target = DiffusionPrior(**TINY), DiffusionPrior(**TINY, num_classes=3)
    classes = target.state_dict()["context.class_embed.weight"].clone()
    state = {f"{prefix}{name}": tensor for name, tensor in to_published(source).items()}
    assert PriorLayout().is_published(state)
    assert not PriorLayout().is_published(source.state_dict())
    beside = {"clip.weight": torch.zeros(1)} if prefix else {}
    load_published(target, {**state, **beside})
    assert all(torch.equal(tensor, target.state_dict()[name]) for name, tensor in source.state_dict().items())
    assert torch.equal(target.state_dict()["context.class_embed.weight"], classes)


def test_what_does_not_fit_is_named() -> None:
    network = DiffusionPrior(**TINY)
    state = to_published(network)
    del state["learned_query"]
    with pytest.raises(StbenchError, match=r"1 missing \(learned_query\)"):
        load_published(network, state)
