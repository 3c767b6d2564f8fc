"""The conditions of a run: device, precision and attention backend."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from stbench.errors import StbenchError, brief, first_line
from stbench.runtime.allocator import keep_freed_memory
from stbench.runtime.attention.available import resolve_attention
from stbench.runtime.attention.choice import AttentionChoices
from stbench.runtime.machine import fast_bfloat16

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Runtime:
    """Where and how the backbone runs.

    Attributes:
        device: what it runs on.
        precision: "float32" or "bfloat16" (autocast; weights, optimizer and average stay in float32).
        attention: the attention backend, or "auto": the fastest for each shape, timed at its first call.
        freed_memory: "kept" for the next tensor, or "returned" to the operating system, which costs time.
        attention_choices: what "auto" has chosen, for all networks that run under this runtime.
    """

    device: torch.device
    precision: str
    attention: str
    freed_memory: str = "returned"
    attention_choices: AttentionChoices = field(default_factory=AttentionChoices, compare=False, repr=False)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Run the backbone's matrix products in this precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            yield


def choose_runtime(device: str, precision: str, attention: str) -> Runtime:
    """Resolve the `auto` settings on this machine, and have the process keep the memory that tensors free.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto" (bfloat16 where a matrix product shows that it is fast), "float32" or "bfloat16".
        attention: see `resolve_attention`.

    Raises:
        StbenchError: when the device or the backend is not there.
    """
    chosen = choose_device(device)
    if precision == "auto":
        precision = "bfloat16" if fast_bfloat16(chosen) else "float32"
    attention = resolve_attention(attention, chosen, PRECISIONS[precision])
    # On a GPU torch keeps it in any case.
    kept = chosen.type != "cpu" or keep_freed_memory()
    return Runtime(chosen, precision, attention, "kept" if kept else "returned")


def choose_device(name: str) -> torch.device:
    """The device that `name` stands for; "auto" takes a GPU when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):  # of torch's twenty others nothing here was tried
        raise StbenchError(f"device={brief(name)}: expected auto, cpu, cuda (a GPU) or cuda:N")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise StbenchError(f"device={name} is not available: {first_line(error)}") from error
    return device
