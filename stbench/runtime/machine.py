"""The machine and the software that a result was measured with."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import torch

from stbench import __version__
from stbench.errors import StbenchError
from stbench.records.sections import Machine, Software

GIB = 2**30
PACKAGES = ("torch", "numpy", "diffusers", "xformers", "torchmetrics", "av")
# What a timing depends on; driver and operating system change without the machine becoming another one.
STABLE_FIELDS = ("cpu", "cores", "threads", "memory_gib", "gpu", "gpu_memory_gib")
AMPERE = 8  # CUDA compute capability of the first GPUs with bfloat16 matrix units
# Linux's names of the instructions: x86 AVX-512 and AMX, and Arm.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware, and not by way of float32.

    Read from the device, not timed: a run that is resumed must find the same answer on a busy machine.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= AMPERE
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", read_text("/proc/cpuinfo"), flags=re.MULTILINE)
    return flags is not None and not BFLOAT16_FLAGS.isdisjoint(flags[1].split())


def describe_machine() -> Machine:
    """This machine: its hardware, and a fingerprint that is equal on machines of equal hardware."""
    cpuinfo = read_text("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", cpuinfo, flags=re.MULTILINE)
    # Threads of one core share the numbers of their socket and core.
    core_numbers = r"^physical id\s*: (\d+)$.*?^core id\s*: (\d+)$"
    cores = set(re.findall(core_numbers, cpuinfo, flags=re.MULTILINE | re.DOTALL))
    threads = os.cpu_count() or 1
    gpu = driver = None
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        driver = re.search(r"\s(\d+\.\d+[.\d]*)\s", read_text("/proc/driver/nvidia/version"))
    machine = Machine(
        cpu=models[0] if models else platform.processor() or platform.machine(),
        cores=len(cores) or threads,
        threads=threads,
        # Rounded, because the exact size changes with the kernel.
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB),
        gpu=gpu.name if gpu else None,
        gpu_memory_gib=round(gpu.total_memory / GIB) if gpu else None,
        driver=driver[1] if driver else None,
        os=platform.platform(),
        fingerprint="",
    )
    stable = json.dumps([getattr(machine, name) for name in STABLE_FIELDS])
    return replace(machine, fingerprint=hashlib.sha256(stable.encode()).hexdigest()[:12])


def software_versions() -> Software:
    """Versions of what a result depends on; the commit is known when stbench runs from its git checkout."""
    versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    commit, dirty = _checkout(Path(__file__))
    return Software(
        stbench=__version__,
        python=platform.python_version(),
        cuda=torch.version.cuda,
        **versions,
        commit=commit,
        dirty=dirty,
    )


def _checkout(source: Path) -> tuple[str | None, bool | None]:
    """Commit of the repository that tracks `source`, and whether its tracked files were changed.

    An installed package may lie inside somebody else's repository, which does not track it.
    """
    if _git(source, "ls-files", "--error-unmatch", source.name) is None:
        return None, None
    return _git(source, "rev-parse", "HEAD"), bool(_git(source, "status", "--porcelain", "--untracked-files=no"))


def _git(source: Path, *arguments: str) -> str | None:
    """Output of a git command in the folder of `source`; None where git or a repository is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=source.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def read_text(path: str) -> str:
    """A system file's text; empty where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def is_out_of_memory(exception: BaseException) -> bool:
    """Whether `exception` says that the host's or the GPU's memory is exhausted.

    torch raises a class of its own for its CUDA allocator, and a plain RuntimeError for its CPU allocator and for
    CUDA libraries that allocate for themselves.
    """
    if isinstance(exception, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(exception, StbenchError) and exception.__cause__ is not None:  # told in one line of ours
        return is_out_of_memory(exception.__cause__)
    pattern = r"out of memory|DefaultCPUAllocator: (can't|not enough)|_STATUS_ALLOC_FAILED"
    return isinstance(exception, RuntimeError) and re.search(pattern, str(exception)) is not None
