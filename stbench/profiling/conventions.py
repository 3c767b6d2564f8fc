"""Operation counts as papers print them, by the name of the convention, beside the executed ones.

`thop_batch3` is the count behind the "FLOPs" of the Latte paper's table of variants (arXiv 2401.03048): the tool thop
at batch 3, that is multiply-accumulates of linear layers and convolutions and two operations for each element of a
layer norm, without the products inside attention, over the authors' computation, in which every modulation is evaluated
once per frame and once per token position. It gives 5572.695 G for variants 1 and 2 of XL/2. The printed figures of
variant 3 (6153.15) and 4 (1545.15) come out when the patch embedding is left out, and variant 4's only at patch size 4.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from stbench.backbones.latte import Latte
from stbench.backbones.latte.blocks import LatteBlock

THOP_BATCH = 3
THOP_LAYER_NORM_OPERATIONS = 2

NOTES = {
    "thop_batch3": 'the Latte paper\'s "FLOPs": multiply-accumulates of linear layers and convolutions at batch 3, '
    "attention products left out, modulations once per frame and token; "
    "the paper's quarter for variant 4 is its patch size: 1545.157 G were counted at patch 4, the other variants at "
    "patch 2, where variant 4 takes 6152.501 G in the same count",
}


def published_conventions(backbone: nn.Module) -> dict[str, float]:
    """Counts of `backbone` under the conventions of papers about it, in 10^9 operations; empty for others.

    Only Latte with adaptive layer norm and patches of single frames has published counts.
    """
    if not isinstance(backbone, Latte) or not backbone.adaptive or backbone.arrangement == "spatial":
        return {}
    return {"thop_batch3": latte_thop_operations(backbone) / 1e9}


def latte_thop_operations(latte: Latte) -> int:
    """Closed form of `thop_batch3`; see the module's docstring.

    Args:
        latte: an adaptive Latte of any of the four arrangements.
    """
    B, N = THOP_BATCH, latte.spatial_table.shape[1]
    F = latte.temporal_table.shape[1]  # after the tubelets
    d, patch_values = latte.patch_embed.out_channels, latte.patch_embed.weight[0].numel()
    all_tokens = B * F * N
    frame_rows, position_rows = B * F, B * N  # copies of the condition in spatial and in temporal blocks
    mlp = 2 * d * cast(LatteBlock, latte.blocks[0]).mlp.hidden_width
    attention = 4 * d * d
    norm = THOP_LAYER_NORM_OPERATIONS * d
    modulation = 6 * d * d
    if latte.arrangement in ("interleaved", "late_fusion"):
        per_token, rows = attention + mlp + 2 * norm, (frame_rows + position_rows) / 2
    elif latte.arrangement == "sequential":
        per_token, rows = 2 * attention + mlp + 3 * norm, frame_rows + position_rows
    elif latte.reading == "full-width":
        per_token, rows = 2 * attention + mlp + 2 * norm, frame_rows + position_rows
    else:
        per_token, rows = attention + mlp + 2 * norm, frame_rows
    blocks = len(latte.blocks) * (all_tokens * per_token + int(rows * modulation))
    final = all_tokens * (norm + d * latte.final.linear.out_features) + frame_rows * 2 * d * d
    timestep = B * (latte.timestep_embed.SINUSOID_DIM * d + d * d)
    text = B * d * cast(nn.Linear, latte.text_embed[1]).in_features if latte.text_embed else 0
    counts_patches = latte.arrangement in ("interleaved", "late_fusion")
    patches = all_tokens * d * patch_values if counts_patches else 0
    return blocks + final + timestep + text + patches
