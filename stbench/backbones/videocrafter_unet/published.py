"""The published weights of VideoCrafter; a layer that Stable Diffusion has as well has its name there.

A published file holds {'state_dict'}, in which the network stands beside the autoencoder and the text encoder, under
`model.diffusion_model.`. A backbone is a `VideoCrafterUNet` in every function here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stbench.backbones.published import PublishedLayout

# Ours -> the authors'; every rule that fits is applied, in this order.
_NAMES = (
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
    (r"\.block\.", ".transformer_blocks.0."),
    (r"\.feed_forward\.enter\.", ".ff.net.0.proj."),
    (r"\.feed_forward\.leave\.", ".ff.net.2."),
    (r"\.to_out\.", ".to_out.0."),
    (r"\.to_([kv])_image\.", r".to_\1_ip."),
    (r"\.image_scale$", ".alpha"),
    (r"\.attend\.key_positions\.table$", ".relative_position_k.embeddings_table"),
    (r"\.attend\.value_positions\.table$", ".relative_position_v.embeddings_table"),
)
_OF_CLASSES = "context."  # learned here, where a class takes the place of a context
# Ours that have fewer axes: linear layers that are convolutions of length 1 there, and 2D ones that are 3D.
_LINEAR = re.compile(r"^encoder\.0\.1\.proj_(in|out)\.weight$")
_FLAT = re.compile(r"\.temporal\.\d\.conv\.weight$")


class VideoCrafterLayout(PublishedLayout):
    """The authors' names and shapes; those of every release and of any size."""

    prefix = "model.diffusion_model."

    def names(self, backbone: Any) -> dict[str, str]:
        """Our names -> the authors'."""
        names = {}
        for ours in backbone.state_dict():
            authors = ours
            for pattern, replacement in _NAMES:
                authors = re.sub(pattern, replacement, authors)
            names[ours] = authors
        return {ours: authors for ours, authors in names.items() if not ours.startswith(_OF_CLASSES)}

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        """By the name of the first convolution."""
        return "input_blocks.0.0.weight" in state or f"{self.prefix}input_blocks.0.0.weight" in state

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """Give it the axes of length 1 that it has there."""
        return tensor.unsqueeze(-1) if _LINEAR.search(name) or _FLAT.search(name) else tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """Drop them."""
        return tensor.squeeze(-1) if _LINEAR.search(name) or _FLAT.search(name) else tensor
