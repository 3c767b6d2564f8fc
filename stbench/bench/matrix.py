"""All variants under every attention backend, compiled and not, in one table.

What cannot run here (a backend that needs a GPU, a variant that does not compile) has a row that says so.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from stbench import paths
from stbench.profiling.variants import profile_variants
from stbench.records.costs import cost_row
from stbench.runtime.attention.backends import AUTO, BACKENDS
from stbench.runtime.failure import Failure, attempt
from stbench.settings.options import ProfileOptions

# One clip of 256x256 pixels under the SD VAE at the published size on a GPU; what a CPU can do in minutes.
LATENTS = {"cuda": "4x16x32x32", "cpu": "4x8x16x16"}
PRESET = {"cuda": "paper", "cpu": "demo"}
BATCH_SIZE = 4


def measure_matrix() -> dict[str, Any]:
    """Profile every variant there is under each pair of backend and compile mode.

    On a CPU all variants are timed in turn; on a GPU, whose memory does not hold all of them at the published size and
    whose clock is steadier, one after the other.

    Returns:
        latents, preset, batch_size, and rows: those of `stbench profile`'s table, with `attention` and `compile`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    variants = list(paths.config_files("variants"))
    groups = variants if device == "cuda" else [",".join(variants)]
    # On a CPU, where compiling takes longest, only what `auto` picks is compiled.
    pairs = [
        (attention, compile_mode)
        for attention in (AUTO, *BACKENDS)
        for compile_mode in ("off", "default")
        if compile_mode == "off" or device == "cuda" or attention == AUTO
    ]
    options = ProfileOptions(batch_size=BATCH_SIZE, latents=LATENTS[device])
    rows = []
    for (attention, compile_mode), names in itertools.product(pairs, groups):
        words = [f"variant={names}", f"preset={PRESET[device]}", f"attention={attention}", f"compile={compile_mode}"]
        profile = attempt(profile_variants, words, options)
        if isinstance(profile, Failure):  # the backend cannot run here, or a variant that is profiled alone failed
            measured = [{"variant": names, "status": profile.status, "reason": profile.reason}]
        else:
            measured = [cost_row(each) for each in profile.variants]
        rows += [{"attention": attention, "compile": compile_mode, **row} for row in measured]
    return {"latents": LATENTS[device], "preset": PRESET[device], "batch_size": BATCH_SIZE, "rows": rows}
