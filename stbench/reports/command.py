"""The command that makes a run again, from what its record says of its configuration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from stbench.records.schema import flatten, value_at
from stbench.settings.presets import PRESETS
from stbench.settings.schema import dotted_settings


def command_of(config: Mapping[str, Any]) -> str:
    """Return the words to type: the components with their arguments, the preset, and every setting that it lacks.

    A variant or dataset of one's own stands there by its name: type the path of its YAML file instead.
    """
    words = []
    for kind in ("variant", "dataset"):
        words.append(f"{kind}={_value(value_at(config, f'{kind}.name'))}")
        arguments = value_at(config, f"{kind}.arguments") or {}
        words += [f"{kind}.{name}={_value(value)}" for name, value in arguments.items()]
    usual = {key: declared.default for key, declared in dotted_settings().items()}
    preset = str(config.get("preset"))
    if preset in PRESETS:
        words.append(f"preset={preset}")
        usual |= PRESETS[preset]
    given = flatten(config)
    words += [f"{key}={_value(given[key])}" for key in usual if key in given and given[key] != usual[key]]
    return shlex.join(["stbench", "run", *words])


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
