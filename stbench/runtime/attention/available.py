"""Whether a backend of attention can be used on this machine, and why not."""

from __future__ import annotations

import warnings

import torch

from stbench.errors import StbenchError
from stbench.runtime.attention.backends import AUTO, BACKENDS, check_backend_name

# What torch and xformers need many lines to say.
WITHOUT_CUDA = {
    "efficient": "needs a CUDA GPU",
    "cudnn": "needs a CUDA GPU",
    "xformers": "xformers is installed but runs only on a GPU",
}


def unavailable_reason(backend: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why `backend` cannot train on `device` in `dtype`, in one line; None when it can. Found out by running it."""
    probe = torch.zeros(1, 2, 16, 32, device=device, dtype=dtype, requires_grad=True)
    with warnings.catch_warnings(record=True) as caught, torch.enable_grad():
        warnings.simplefilter("always")
        try:
            BACKENDS[backend](probe, probe, probe).sum().backward()
        except (RuntimeError, ImportError) as error:
            if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("xformers"):
                return "not installed: pip install 'stbench[xformers]'"
            if device.type != "cuda" and backend in WITHOUT_CUDA:
                return WITHOUT_CUDA[backend]
            notes = [str(note.message) for note in caught if "Triggered internally" in str(note.message)]
            return _first_sentence([*notes, str(error), type(error).__name__])
    return None


def _first_sentence(messages: list[str]) -> str:
    """The first sentence that says something: torch's kernels give their reasons in warnings, between headlines."""
    empty = ("not used because", "runtime disabled")
    sentences = (message.strip().split("\n")[0].split(" (Triggered")[0].split(". ")[0] for message in messages)
    return next(text.rstrip(".:") for text in sentences if text and not any(words in text for words in empty))


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
