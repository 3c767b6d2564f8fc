"""stbench: a benchmark and ablation harness for spatio-temporal backbones of video diffusion models.

What scripts, notebooks and plug-ins may rely on is listed in `__all__` and loaded on first use, so that importing the
package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "build_backbone": "stbench.settings.components",
    "load_published": "stbench.backbones.published",
    "Conditioning": "stbench.backbones.base",
    "Attend": "stbench.runtime.attention.attend",
    "diffusion_loss": "stbench.diffusion.loss",
    "build_detector": "stbench.metrics.detectors",
    "frechet_distance": "stbench.metrics.frechet",
    "load_records": "stbench.records.store",
    "load_run": "stbench.run.reuse",
    "sample": "stbench.run.reuse",
    "evaluate": "stbench.run.reuse",
    "validate": "stbench.run.reuse",
    "StbenchError": "stbench.errors",
}
__all__ = ["__version__", "run", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name == "run":  # a package, which can be called
        return importlib.import_module("stbench.run")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'stbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
