"""How torch.compile is used, wherever a backbone is trained or measured."""

from __future__ import annotations

import os

import torch
from torch import nn

from stbench import paths

RECOMPILE_LIMIT = 64

# On a CPU, tanh (of GELU) by way of one exponential instead of a library call: a tenth of a step (docs/performance.md).
COMPILE_OPTIONS = {"cpp.use_decompose_tanh": True}


def compile_in_place(backbone: nn.Module, mode: str) -> None:
    """Compile a backbone's forward with torch.compile, unless `mode` is "off"; its weights keep their names.

    Torch keeps a few compiled versions of a class's forward and then goes on without compiling. Several variants of one
    class, or a video network with and without gradients, need more of them; and where they run out, that is an error.

    What was compiled is kept on disk for other processes, where torch finds it by a network's operations and shapes;
    `TORCHINDUCTOR_CACHE_DIR` names another place.
    """
    if mode != "off":
        os.environ.setdefault(
            "TORCHINDUCTOR_CACHE_DIR", str(paths.user_cache() / f"compiled-torch-{torch.__version__}")
        )
        torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        options = torch._inductor.list_mode_options(mode) | COMPILE_OPTIONS  # torch takes a mode or options, not both
        backbone.compile(options=options, dynamic=False)


def forget_compiled_code() -> None:
    """Drop what was compiled so far in this process, at the start of a run.

    Torch keeps compiled code by class, up to `RECOMPILE_LIMIT` versions. Those of an earlier run are of no use to this
    one, whose choices of attention are its own, and many runs of one process would fill the limit.
    """
    torch._dynamo.reset()
