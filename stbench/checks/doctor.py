"""`stbench doctor`: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch

from stbench import paths
from stbench.data.autoencoders import build_autoencoder
from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detectors import build_detector
from stbench.profiling.ceilings import matmul_ceiling
from stbench.reports.terminal import print_rows
from stbench.runtime.attention.available import unavailable_reason
from stbench.runtime.attention.backends import BACKENDS
from stbench.runtime.attention.choice import candidates
from stbench.runtime.device import PRECISIONS, choose_device
from stbench.runtime.machine import describe_machine, fast_bfloat16, software_versions

EXTRAS = {"diffusers": "sd-vae", "transformers": "videomae", "pynvml": "nvml", "xformers": "xformers"}


def print_diagnosis() -> None:
    """Print everything that a run may want, and whether it is there."""
    device = choose_device("auto")
    for title, rows in (
        ("machine", _machine(device)),
        ("attention backends", _attention(device)),
        ("weights", _weights()),
        ("optional packages", _packages()),
        ("configuration folders", _folders()),
    ):
        print(title)
        print_rows(rows, indent=2)
        print()


def _machine(device: torch.device) -> list[tuple[str, str]]:
    facts = describe_machine()
    versions = software_versions()
    speeds = {
        name: f"{matmul_ceiling(device, dtype):.0f} GFLOP/s in a large matrix product"
        for name, dtype in PRECISIONS.items()
    }
    automatic = "bfloat16" if fast_bfloat16(device) else "float32"
    return [
        ("device", f"{device}: {facts.gpu or facts.cpu}"),
        ("processor", f"{facts.cpu}, {facts.cores} cores, {facts.memory_gib} GiB"),
        ("software", ", ".join(f"{name} {getattr(versions, name)}" for name in ("python", "torch", "stbench"))),
        *speeds.items(),
        ("precision=auto", automatic),
    ]


def _attention(device: torch.device) -> list[tuple[str, str]]:
    automatic = f"the fastest that runs of {', '.join(candidates(device))}; timed at the first call of each shape"
    return [*((backend, _availability(backend, device)) for backend in BACKENDS), ("attention=auto", automatic)]


def _availability(backend: str, device: torch.device) -> str:
    """Whether a backend runs; a reason against it that holds in every precision stands there once."""
    reasons = {name: unavailable_reason(backend, device, dtype) for name, dtype in PRECISIONS.items()}
    if not any(reasons.values()):
        return "available"
    if len(set(reasons.values())) == 1:
        return f"unavailable: {reasons['float32']}"
    return "; ".join(f"not in {name}: {reason}" for name, reason in reasons.items() if reason)


def _weights() -> list[tuple[str, str]]:
    detectors = [(name, _found(_describe_detector, name)) for name in DETECTORS]
    autoencoders = [(name, _found(_describe_autoencoder, name)) for name in ("sd-vae", "taesd")]
    return detectors + autoencoders


def _describe_detector(name: str) -> str:
    return f"sha256 {build_detector(name).weights_sha256[:12]}"


def _describe_autoencoder(name: str) -> str:
    autoencoder = build_autoencoder(name)
    return f"{autoencoder.channels} channels, 1/{autoencoder.downsampling} per side"


def _found(describe: Callable[[str], str], name: str) -> str:
    try:
        return f"found, {describe(name)}"
    except StbenchError as error:
        return f"missing: {error}"


def _packages() -> list[tuple[str, str]]:
    return [
        (package, "installed" if importlib.util.find_spec(package) else f"missing: pip install 'stbench[{extra}]'")
        for package, extra in EXTRAS.items()
    ]


def _folders() -> list[tuple[str, str]]:
    return [(kind, ", ".join(map(str, paths.config_folders(kind)))) for kind in ("variants", "datasets")]
