"""The names and shapes of the public VDM U-Net, `Unet3D` of video-diffusion-pytorch 0.7.0.

A backbone is a `VdmUNet` in every function here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stbench.backbones.published import PublishedLayout
from stbench.errors import StbenchError

# Ours -> the authors', rule after rule.
_NAMES = (
    (r"^timestep_embed\.mlp\.(\d)", lambda match: f"time_mlp.{int(match[1]) + 1}"),
    (r"^null_context$", "null_cond_emb"),
    (r"^position_bias\.", "time_rel_pos_bias.relative_attention_bias."),
    (r"^conv_in\.0\.", "init_conv."),
    (r"^first_attention\.temporal\.", "init_temporal_attn."),
    (r"^middle_attention\.(spatial|temporal)\.", r"mid_\1_attn."),
    (r"^middle_first\.", "mid_block1."),
    (r"^middle_last\.", "mid_block2."),
    (r"^final\.", "final_conv.0."),
    (r"^conv_out\.", "final_conv.1."),
    (r"^(downs|ups)\.(\d+)\.first\.", r"\1.\2.0."),
    (r"^(downs|ups)\.(\d+)\.last\.", r"\1.\2.1."),
    (r"^(downs|ups)\.(\d+)\.attention\.spatial\.", r"\1.\2.2."),
    (r"^(downs|ups)\.(\d+)\.attention\.temporal\.", r"\1.\2.3."),
    (r"^(downs|ups)\.(\d+)\.resample\.0\.", r"\1.\2.4."),
    (r"\.modulation\.", ".mlp."),
    (r"\.residual\.", ".res_conv."),
    (r"\.(first|last)\.(conv\.0|norm)\.", lambda match: f".block{1 if match[1] == 'first' else 2}.{match[2]}."),
    (r"\.conv\.0\.", ".proj."),
    (r"\.norm\.weight$", ".norm.gamma"),
    # Attention stands inside of a residual, a norm and, but for the linear one, a change of layout.
    (r"^((downs|ups)\.\d+\.[23]|\w+_attn)\.norm\.", r"\1.fn.norm."),
    (r"^((?:downs|ups)\.\d+\.2)\.to_", r"\1.fn.fn.to_"),
    (r"^((?:downs|ups)\.\d+\.3|\w+_attn)\.(to_|rotary)", r"\1.fn.fn.fn.\2"),
    (r"\.rotary\.frequencies$", ".rotary_emb.freqs"),
)
# Axes of length 1 that the authors' tensors have, by our names; where no rule fits, shapes are the same.
_AXES = (
    (r"^(downs|ups)\.\d+\.attention\.spatial\.to_\w+\.weight$", (-1, -1)),  # 1x1
    (r"(^conv_out|\.residual)\.weight$", (-1, -1, -1)),  # 1x1x1
    (r"(conv|conv_in|resample)\.0\.weight$", (2,)),  # one frame long
    (r"attention\.(spatial|temporal)\.norm\.weight$", (0, -1, -1, -1)),
    (r"\.norm\.weight$", (-1, -1, -1)),
)


class VdmLayout(PublishedLayout):
    """The authors' names and shapes: all convolutions are 3D there."""

    def names(self, backbone: Any) -> dict[str, str]:
        """Our names -> the authors', of a network with their spatial attention."""
        if backbone.spatial_attention == "full" or backbone.temporal != "attention":
            raise StbenchError(
                f"no weights of spatial_attention={backbone.spatial_attention} temporal={backbone.temporal} were "
                "published: the public VDM U-Net has spatial_attention=linear or none and temporal=attention"
            )
        return {ours: _authors_name(ours) for ours in backbone.state_dict() if not ours.startswith("class_embed.")}

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        """By the name of the relative positions."""
        return "time_rel_pos_bias.relative_attention_bias.weight" in state

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """Add the axes of length 1."""
        for axis in _axes(name):
            tensor = tensor.unsqueeze(axis)
        return tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """Take the axes of length 1 away."""
        for axis in reversed(_axes(name)):
            tensor = tensor.squeeze(axis)
        return tensor


def _authors_name(ours: str) -> str:
    for pattern, theirs in _NAMES:
        ours = re.sub(pattern, theirs, ours)
    return ours


def _axes(ours: str) -> tuple[int, ...]:
    return next((axes for pattern, axes in _AXES if re.search(pattern, ours)), ())
