"""Whether a backend of attention can be used on this machine, and why not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from stbench.errors import StbenchError, first_line
from stbench.runtime.attention.backends import AUTO, BACKENDS, check_backend_name


@dataclass(frozen=True)
class Need:
    """What a backend needs, and what to say where it is not met."""

    reason: str
    met: Callable[[torch.device, torch.dtype], bool]


CUDA = Need("needs a CUDA GPU", lambda device, _: device.type == "cuda")
HALF_PRECISION = Need(
    "needs bfloat16 or float16 on a GPU",
    lambda device, dtype: device.type != "cuda" or dtype in (torch.bfloat16, torch.float16),
)
AMPERE = Need(
    "needs a GPU of compute capability 8.0 or more",
    lambda device, _: device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0),
)
# The conditions of torch's kernels (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp), which it tells in warnings
# that change from version to version, and of packages. Asked only when a trial has failed: the trial decides.
NEEDS: dict[str, tuple[Need, ...]] = {
    "flash": (HALF_PRECISION, AMPERE),
    "efficient": (CUDA,),
    "cudnn": (CUDA, HALF_PRECISION, AMPERE),
    "xformers": (Need("xformers is installed but runs only on a GPU", CUDA.met),),
    "flex": (Need("FlexAttention does not support backward on CPU", CUDA.met),),
}


def unavailable_reason(backend: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why `backend` cannot train on `device` in `dtype`, in one line; None when it can. Found out by running it."""
    probe = torch.zeros(1, 2, 16, 32, device=device, dtype=dtype, requires_grad=True)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        try:
            BACKENDS[backend](probe, probe, probe).sum().backward()
        except (RuntimeError, ImportError) as error:
            if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("xformers"):
                return "not installed: pip install 'stbench[xformers]'"
            unmet = (need.reason for need in NEEDS.get(backend, ()) if not need.met(device, dtype))
            return next(unmet, first_line(error).rstrip(".:"))
    return None


def resolve_attention(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """Check that the `attention` setting can be used here.

    Args:
        backend: a name of `BACKENDS`, or `AUTO`, which stays as it is: shapes are known only to the first call.
        device: where the backbone runs.
        dtype: in which precision it runs.

    Returns:
        `backend`, for `set_attention_backend`.

    Raises:
        StbenchError: for an unknown backend, or one that cannot run here, with the reason.
    """
    check_backend_name(backend)
    reason = None if backend == AUTO else unavailable_reason(backend, device, dtype)
    if reason is not None:
        raise StbenchError(f"attention={backend} cannot run on {device} in {dtype}: {reason}")
    return backend
