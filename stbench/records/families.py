"""Which configurations are sizes of one network: those that differ in the arguments of size, and the seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stbench.records.schema import flatten

# Arguments of backbones that make a network larger and leave it what it is.
SIZE_ARGUMENTS = frozenset(
    (
        *("size", "width", "hidden_size", "depth", "num_layers", "num_heads", "head_dim", "mlp_ratio"),
        *("dim", "dim_multipliers", "blocks_per_level", "channels", "channel_multipliers"),
    )
)
# May differ between sizes without being one: a preset, where it is computed. Another name is another network.
NO_PART = frozenset(("seed", "preset", "dataset.arguments.root", "device", "out", "track"))


def family_of(config: Mapping[str, Any]) -> str:
    """Return what is equal in the configurations of one network at several sizes."""
    sizes = {f"variant.arguments.{name}" for name in SIZE_ARGUMENTS}
    kept = {key: value for key, value in flatten(config).items() if key not in sizes | NO_PART}
    return json.dumps(kept, sort_keys=True, default=str)
