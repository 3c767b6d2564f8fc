"""Shapes of blocks, as tables give them."""

from __future__ import annotations

import pytest

from stbench.backbones.latte import Latte
from stbench.backbones.videocrafter_unet import VideoCrafterUNet
from stbench.errors import StbenchError
from stbench.profiling.shapes import block_shapes
from stbench.profiling.workload import Workload


def test_channels_that_enter_and_leave_and_the_size_of_what_leaves() -> None:
    def construct() -> VideoCrafterUNet:
        return VideoCrafterUNet(dim=32, dim_multipliers=(1, 2), blocks_per_level=1, attention_levels=(), head_dim=32)

    assert block_shapes(construct, Workload((4, 2, 8, 12), context_shape=(3, 1024))) == {
        "encoder-0": "4->32 8x12",
        "encoder-1": "32->32 8x12",
        "encoder-2": "32->32 4x6",
        "encoder-3": "32->64 4x6",
        "middle": "64->64 4x6",
        "decoder-0": "128->64 4x6",
        "decoder-1": "96->64 8x12",
        "decoder-2": "96->32 8x12",
        "decoder-3": "64->32 8x12",
    }


def test_a_network_that_names_no_blocks_says_so() -> None:
    with pytest.raises(StbenchError, match=r"--shapes: Latte names no blocks \(`named_blocks`\)"):
        block_shapes(lambda: Latte(size="tiny"), Workload((4, 16, 32, 32)))
