"""The published weights of VideoCrafter and LVDM; a layer that Stable Diffusion has as well has its name there.

A published file holds {'state_dict'}, in which the network stands beside the autoencoder and the text encoder, under
`model.diffusion_model.`. StyleCrafter's adapter is a file of its own: its tensors and those of the U-Net, without that
prefix, make one mapping. A backbone is a `VideoCrafterUNet` or an `LvdmUNet` in every function here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from stbench.backbones.published import PublishedLayout

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
"""What to look for in our names, and what the authors have instead; every rule that fits is applied, in order."""

OF_TRANSFORMERS: Rules = (
    (r"\.block\.", ".transformer_blocks.0."),
    (r"\.feed_forward\.enter\.", ".ff.net.0.proj."),
    (r"\.feed_forward\.leave\.", ".ff.net.2."),
    (r"\.to_out\.", ".to_out.0."),
)
_NAMES: Rules = (
    (r"^style_scales\.tokens$", "scale_predictor.scale_emb"),
    (r"^style_scales\.norm_in\.", "scale_predictor.ln1."),
    (r"^style_scales\.norm_out\.", "scale_predictor.ln2."),
    (r"^style_scales\.enter\.", "scale_predictor.out.0."),
    (r"^style_scales\.leave\.", "scale_predictor.out.2."),
    (r"^style_scales\.blocks\.", "scale_predictor.transformer_blocks.resblocks."),
    (r"(resblocks\.\d)\.norm(\d)\.", r"\1.ln_\2."),
    (r"(resblocks\.\d)\.qkv\.", r"\1.attn.in_proj_"),
    (r"(resblocks\.\d)\.proj\.", r"\1.attn.out_proj."),
    (r"(resblocks\.\d)\.enter\.", r"\1.mlp.c_fc."),
    (r"(resblocks\.\d)\.leave\.", r"\1.mlp.c_proj."),
    (r"^timestep_embed\.", "time_embed."),
    (r"^fps_embed\.", "fps_embedding."),
    (r"^norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
    (r"^encoder\.0\.0\.conv\.", "input_blocks.0.0."),
    (r"^encoder\.0\.1\.", "init_attn.0."),
    (r"^encoder\.(\d+)\.0\.conv\.", r"input_blocks.\1.0.op."),
    (r"^encoder\.", "input_blocks."),
    (r"^middle\.", "middle_block."),
    (r"^decoder\.", "output_blocks."),
    (r"\.norm_in\.", ".in_layers.0."),
    (r"\.conv_in\.", ".in_layers.2."),
    (r"\.embed\.", ".emb_layers.1."),
    (r"\.norm_out\.", ".out_layers.0."),
    (r"\.conv_out\.", ".out_layers.3."),
    (r"\.skip\.", ".skip_connection."),
    (r"\.temporal\.0\.norm\.", ".temopral_conv.conv1.0."),  # spelled so by the authors
    (r"\.temporal\.0\.conv\.", ".temopral_conv.conv1.2."),
    (r"\.temporal\.1\.", ".temopral_conv.conv2."),
    (r"\.temporal\.2\.", ".temopral_conv.conv3."),
    (r"\.temporal\.3\.", ".temopral_conv.conv4."),
    (r"\.(conv[234])\.norm\.", r".\1.0."),
    (r"\.(conv[234])\.conv\.", r".\1.3."),
    *OF_TRANSFORMERS,
    (r"\.to_([kv])_image\.", r".to_\1_ip."),
    (r"\.image_scale$", ".alpha"),
    (r"(\.time)?\.attend\.key_positions\.table$", ".relative_position_k.embeddings_table"),
    (r"(\.time)?\.attend\.value_positions\.table$", ".relative_position_v.embeddings_table"),
    (r"\.(space|time)\.(norm|qkv|proj_out)\.", lambda match: f".{match[2]}_{match[1][0]}."),
    (
        r"^(.*)\.(to_[kv]_style|norm_style)\.",
        lambda match: f"kv_attn_layers.{match[1].replace('.', '_')}_processor.{match[2]}.",
    ),
)
_OF_CLASSES = ("context.", "class_embed.")  # an addition of this benchmark
# Ours that have fewer axes: linear layers that are convolutions of length 1 there, and 2D ones that are 3D.
_LINEAR = re.compile(r"^encoder\.0\.1\.proj_(in|out)\.weight$")
FLAT = re.compile(r"\.temporal\.\d\.conv\.weight$")
_PROJECTION = re.compile(r"\.(qkv|proj_out)\.weight$")  # of LVDM


class VideoCrafterLayout(PublishedLayout):
    """The names and shapes of VideoCrafter's authors; those of every release and of any size."""

    prefix = "model.diffusion_model."

    def names(self, backbone: Any) -> dict[str, str]:
        """Our names -> the authors'."""
        return {ours: renamed(ours, _NAMES) for ours in published_of(backbone)}

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        """By the name of the first convolution."""
        return "input_blocks.0.0.weight" in state or f"{self.prefix}input_blocks.0.0.weight" in state

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """Give it the axes of length 1 that it has there."""
        return tensor.unsqueeze(-1) if _LINEAR.search(name) or FLAT.search(name) else tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """Drop them."""
        return tensor.squeeze(-1) if _LINEAR.search(name) or FLAT.search(name) else tensor


class LvdmLayout(VideoCrafterLayout):
    """The names and shapes of LVDM's authors: all convolutions are 3D, and attention projects by convolutions."""

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """Give it the axes of length 1 that it has there."""
        if tensor.ndim == 4:
            return tensor.unsqueeze(2)
        return tensor.unsqueeze(-1) if _PROJECTION.search(name) else tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """Drop them."""
        if tensor.ndim == 5:
            return tensor.squeeze(2)
        return tensor.squeeze(-1) if _PROJECTION.search(name) else tensor


def published_of(backbone: nn.Module) -> list[str]:
    """Our names of what authors publish."""
    return [name for name in backbone.state_dict() if not name.startswith(_OF_CLASSES)]


def renamed(name: str, rules: Rules) -> str:
    """A name by rules."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
