"""The published weights of Latte variant 1 (Vchitect/Latte) and of DiT (facebookresearch/DiT).

Published files of Latte hold {'model', 'ema'}; the averaged weights are what the authors evaluate, and what is loaded
unless `model` is named. A backbone is a `Latte` in every function here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from stbench.backbones.latte.blocks import DualChannelAttention
from stbench.backbones.published import PublishedLayout, from_published
from stbench.errors import StbenchError
from stbench.storage.weights import load_strictly

# Ours -> the authors'; DiT has the same but for `temporal_table`.
_NAMES = (
    (r"^spatial_table$", "pos_embed"),
    (r"^temporal_table$", "temp_embed"),
    (r"^patch_embed\.", "x_embedder.proj."),
    (r"^timestep_embed\.", "t_embedder."),
    (r"^class_embed\.", "y_embedder.embedding_table."),
    (r"^text_embed\.", "text_embedding_projection."),
    (r"^blocks\.(\d+)\.mixers\.0\.", r"blocks.\1.attn."),
    (r"^blocks\.(\d+)\.mlp\.0\.", r"blocks.\1.mlp.fc1."),
    (r"^blocks\.(\d+)\.mlp\.2\.", r"blocks.\1.mlp.fc2."),
    (r"^blocks\.(\d+)\.modulation\.", r"blocks.\1.adaLN_modulation."),
    (r"^final\.modulation\.", "final_layer.adaLN_modulation."),
    (r"^final\.linear\.", "final_layer.linear."),
)

_ADDED = re.compile(r"blocks\.\d+\.(added|mixers\.0\.(temporal|gate))\.")  # what `temporal` adds to spatial blocks


class LatteLayout(PublishedLayout):
    """The authors' names and shapes; the patch embedding is a 2D convolution there."""

    only_of_video = ("arrangement", "depth", "temporal_position", "temporal", "gate_start")

    def names(self, backbone: Any) -> dict[str, str]:
        """Our names -> the authors', of the interleaved Latte or of DiT."""
        if backbone.arrangement not in ("interleaved", "spatial"):
            raise StbenchError(
                f"no weights of {backbone.arrangement} were published: there are those of Latte's interleaved "
                "arrangement and of DiT (arrangement=spatial)"
            )
        if backbone.temporal != "attention":
            raise StbenchError(
                f"no weights of temporal={backbone.temporal} were published: there are those of DiT, which its spatial "
                "part can start from (train.init)"
            )
        if not backbone.adaptive or backbone.patch[0] != 1:
            raise StbenchError(
                "the published Latte has conditioning=adaln and patch_embedding=uniform: other networks have no "
                "published weights"
            )
        names = {}
        for ours in backbone.state_dict():
            pattern, authors = next(rule for rule in _NAMES if re.match(rule[0], ours))
            names[ours] = re.sub(pattern, authors, ours)
        if backbone.arrangement == "spatial":
            del names["temporal_table"]  # DiT has no time
        return names

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        """By the name of the position table."""
        return "pos_embed" in state

    def to_authors(self, name: str, tensor: Tensor) -> Tensor:
        """Drop the patch's length in time."""
        return tensor.squeeze(2) if name == "patch_embed.weight" else tensor

    def to_ours(self, name: str, tensor: Tensor) -> Tensor:
        """Give the patch a length in time."""
        return tensor.unsqueeze(2) if name == "patch_embed.weight" and tensor.ndim == 4 else tensor

    def is_image_model(self, state: Mapping[str, Tensor], backbone: Any) -> bool:
        """Whether `state` has the blocks of an image model: half as many as an interleaved or late-fused one, or none
        of what `temporal` adds to them.
        """
        if backbone.temporal != "attention":
            return not any(_ADDED.match(name) for name in state) and "temp_embed" not in state
        numbers = {int(match[1]) for name in state if (match := re.match(r"blocks\.(\d+)\.", name))}
        is_video = backbone.arrangement != "spatial"
        return is_video and "temp_embed" not in state and len(numbers) != len(backbone.blocks)

    def load_image_model(self, backbone: Any, state: Mapping[str, Tensor], origin: object) -> None:
        """Load a DiT into the spatial blocks.

        Raises:
            StbenchError: when the blocks do not match in number or shape, naming them.
        """
        if backbone.arrangement in ("parallel", "sequential"):
            raise StbenchError(
                f"arrangement={backbone.arrangement} has no purely spatial blocks to load {origin} into: image "
                "pretraining needs interleaved or late_fusion"
            )
        image = copy.copy(backbone)  # the image model within: it shares all modules but for the temporal blocks
        spatial = nn.ModuleList(block.image_block() for block in backbone.blocks if not block.video_only)
        image._modules = {**backbone._modules, "blocks": spatial}
        image.arrangement, image.temporal = "spatial", "attention"
        if self.is_published(state):
            state = from_published(image, state, origin)
        without_time = {name: tensor for name, tensor in state.items() if name != "temporal_table"}
        load_strictly(image, without_time, origin, optional=("temporal_table",))
        for module in backbone.modules():
            if isinstance(module, DualChannelAttention):
                module.start_from_space()
