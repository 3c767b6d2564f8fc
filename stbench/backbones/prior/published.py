"""The names of the public diffusion prior, `DiffusionPriorNetwork` of DALLE2-pytorch.

A file of a whole `DiffusionPrior` has them under `net.`. A backbone is a `DiffusionPrior` in every function here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stbench.backbones.published import PublishedLayout

# Ours -> the authors', rule after rule.
_NAMES = (
    (r"^query$", "learned_query"),
    (r"^null_encodings$", "null_text_encodings"),
    (r"^null_text$", "null_text_embeds"),
    (r"^null_image$", "null_image_embed"),
    (r"^timestep_embed\.weight$", "to_time_embeds.0.weight"),
    (r"^timestep_embed\.mlp\.0\.", "to_time_embeds.0.1.net.0.0."),
    (r"^timestep_embed\.mlp\.2\.", "to_time_embeds.0.1.net.1.0."),
    (r"^timestep_embed\.mlp\.4\.", "to_time_embeds.0.1.net.2."),
    (r"^position_bias\.", "causal_transformer.rel_pos_bias.relative_attention_bias."),
    (r"^norm_out\.weight$", "causal_transformer.norm.g"),
    (r"^proj_out\.", "causal_transformer.project_out."),
    (r"^blocks\.", "causal_transformer.layers."),
    (r"\.attention\.norm_out\.weight$", ".0.to_out.1.g"),
    (r"\.attention\.to_out\.", ".0.to_out.0."),
    (r"\.attention\.rotary\.frequencies$", ".0.rotary_emb.freqs"),
    (r"\.attention\.", ".0."),
    (r"\.feed_forward\.norm\.weight$", ".1.0.g"),
    (r"\.feed_forward\.enter\.", ".1.1."),
    (r"\.feed_forward\.norm_hidden\.weight$", ".1.3.g"),
    (r"\.feed_forward\.leave\.", ".1.5."),
    (r"\.norm\.weight$", ".norm.g"),
)


class PriorLayout(PublishedLayout):
    """The authors' names; all shapes are the same."""

    prefix = "net."

    def names(self, backbone: Any) -> dict[str, str]:
        """Our names -> the authors'; a token of classes is an addition of this benchmark."""
        return {ours: _authors_name(ours) for ours in backbone.state_dict() if not ours.startswith("context.")}

    def is_published(self, state: Mapping[str, Tensor]) -> bool:
        """By the name of the query."""
        return "learned_query" in state or f"{self.prefix}learned_query" in state


def _authors_name(ours: str) -> str:
    for pattern, theirs in _NAMES:
        ours = re.sub(pattern, theirs, ours)
    return ours
