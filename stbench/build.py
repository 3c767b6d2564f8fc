"""Building a backbone from Python, by a variant's name or file."""

from __future__ import annotations

from typing import Any

from torch import nn

from stbench.components import load_component


def build_backbone(variant: str, **overrides: Any) -> nn.Module:
    """Build the backbone of a variant.

    Args:
        variant: the name of a file in `variants/`, or the path of a YAML file.
        overrides: constructor arguments that differ from the file's.

    Returns:
        The network, in train mode, with the weights that its constructor drew.

    Raises:
        StbenchError: for an unknown variant or argument, or figures that do not fit together.
    """
    return load_component("variant", variant).with_arguments(overrides).construct()
