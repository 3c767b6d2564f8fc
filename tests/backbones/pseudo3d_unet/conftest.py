"""What the tests of the layers and of the network share: the authors' names, and noise for what starts at zero."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from torch import nn

from stbench.backbones.pseudo3d_unet.layers import PseudoAttention3d, TemporalConv

# The names of make-a-video-pytorch 0.4.0, from those here, rule after rule.
AUTHORS_NAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^timestep_embed\.linear", "to_timestep_cond.1"),
    (r"^middle_first", "mid_block1"),
    (r"^middle_attention", "mid_attn"),
    (r"^middle_last", "mid_block2"),
    (r"^ups\.(\d)", lambda match: f"ups.{1 - int(match[1])}"),  # two levels; theirs count from the top
    (r"^(downs|ups)\.(\d)\.first", r"\1.\2.0"),
    (r"^(downs|ups)\.(\d)\.rest", r"\1.\2.1"),
    (r"^(downs|ups)\.(\d)\.attention", r"\1.\2.2"),
    (r"downsample\.0", "3.down_space.1"),
    (r"upsample\.0", "3.up_space.0"),
    (r"modulation\.1", "timestep_mlp.1"),
    (r"residual", "res_conv.spatial_conv"),
    (r"first\.(conv|norm)", r"block1.\1"),
    (r"last\.(conv|norm)", r"block2.\1"),
    (r"\.conv\.", ".project."),
    (r"feed_forward\.norm\.weight", "ff.proj_out.0.gamma"),
    (r"feed_forward\.proj_(in|out)", lambda match: f"ff.proj_{match[1]}.{'0' if match[1] == 'in' else '1'}"),
    (r"(spatial|temporal)\.position_bias\.0", r"\1_rel_pos_bias.net.0.0"),
    (r"(spatial|temporal)\.position_bias\.2", r"\1_rel_pos_bias.net.1.0"),
    (r"(spatial|temporal)\.position_bias\.4", r"\1_rel_pos_bias.net.2"),
    (r"(spatial|temporal)\.(norm|to_)", r"\1_attn.\2"),
    (r"norm\.weight", "norm.gamma"),
    (r"spatial\.0\.(weight|bias)", r"spatial_conv.\1"),
    (r"temporal\.(weight|bias)", r"temporal_conv.\1"),
]


@pytest.fixture(scope="session")
def authors_name() -> Callable[[str], str]:
    """From a parameter's name here to the authors'."""

    def rename(name: str) -> str:
        for pattern, replacement in AUTHORS_NAMES:
            name = re.sub(pattern, replacement, name)
        return name

    return rename


@pytest.fixture(scope="session")
def fill_zeros() -> Callable[[nn.Module, bool], None]:
    """Give noise to every weight that starts at zero; those that make time start as nothing only on request."""

    def fill(module: nn.Module, keep_temporal: bool) -> None:
        temporal = [m for m in module.modules() if isinstance(m, TemporalConv)]
        temporal_out = [m.temporal.to_out for m in module.modules() if isinstance(m, PseudoAttention3d) and m.temporal]
        kept = {id(p) for m in [*temporal, *temporal_out] for p in m.parameters()} if keep_temporal else set()
        for parameter in module.parameters():
            if not parameter.any() and id(parameter) not in kept:
                nn.init.normal_(parameter, std=0.3)

    return fill
