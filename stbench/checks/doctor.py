"""`stbench doctor`: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util

import torch

from stbench import paths
from stbench.data.autoencoders import AUTOENCODERS, ImageAutoencoder, build_autoencoder
from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.detectors import build_detector
from stbench.profiling.ceilings import matmul_ceiling
from stbench.records.statistics import under_load, waiting
from stbench.reports.terminal import print_rows
from stbench.runtime.attention.available import unavailable_reason
from stbench.runtime.attention.backends import BACKENDS
from stbench.runtime.attention.choice import candidates
from stbench.runtime.device import PRECISIONS, choose_device
from stbench.runtime.load import WaitedShare
from stbench.runtime.machine import describe_machine, fast_bfloat16, software_versions

EXTRAS = {
    "diffusers": "sd-vae",
    "transformers": "videomae",
    "pynvml": "nvml",
    "xformers": "xformers",
    "accelerate": "track",
}


def print_diagnosis() -> None:
    """Print everything that a run may want, and whether it is there."""
    device = choose_device("auto")
    packages = [
        (package, "installed" if importlib.util.find_spec(package) else f"missing: pip install 'stbench[{extra}]'")
        for package, extra in EXTRAS.items()
    ]
    folders = [(kind, ", ".join(map(str, paths.config_folders(kind)))) for kind in ("variants", "datasets")]
    for title, rows in (
        ("machine", _machine(device)),
        ("attention backends", _attention(device)),
        ("weights", _weights()),
        ("optional packages", packages),
        ("configuration folders", folders),
    ):
        print(title)
        print_rows(rows, indent=2)
        print()


def _machine(device: torch.device) -> list[tuple[str, str]]:
    facts, versions = describe_machine(), software_versions()
    with WaitedShare() as waited:
        speeds = {name: matmul_ceiling(device, dtype) for name, dtype in PRECISIONS.items()}
    busy = []
    if waited.value is not None and under_load(waited.value):
        busy = [("", f"too low, the machine is busy: {waiting(waited.value)}")]
    return [
        ("device", f"{device}: {facts.gpu or facts.cpu}"),
        ("processor", f"{facts.cpu}, {facts.cores} cores, {facts.memory_gib} GiB"),
        ("software", f"python {versions.python}, torch {versions.torch}, stbench {versions.stbench}"),
        *((name, f"{speed:.0f} GFLOP/s in a large matrix product") for name, speed in speeds.items()),
        *busy,
        ("precision=auto", "bfloat16" if fast_bfloat16(device) else "float32"),
    ]


def _attention(device: torch.device) -> list[tuple[str, str]]:
    """Whether each backend runs; a reason against it that holds in every precision stands there once."""
    rows = []
    for backend in BACKENDS:
        reasons = {name: unavailable_reason(backend, device, dtype) for name, dtype in PRECISIONS.items()}
        if not any(reasons.values()):
            verdict = "available"
        elif len(set(reasons.values())) == 1:
            verdict = f"unavailable: {reasons['float32']}"
        else:
            verdict = "; ".join(f"not in {name}: {reason}" for name, reason in reasons.items() if reason)
        rows.append((backend, verdict))
    automatic = f"the fastest that runs of {', '.join(candidates(device))}; timed at the first call of each shape"
    return [*rows, ("attention=auto", automatic)]


def _weights() -> list[tuple[str, str]]:
    """What loads of the detectors and autoencoders, and how to get the others."""
    rows = []
    with_weights = [name for name, kind in AUTOENCODERS.items() if issubclass(kind, ImageAutoencoder)]
    for name in (*DETECTORS, *with_weights):
        try:
            if name in DETECTORS:
                found = f"sha256 {build_detector(name).weights_sha256[:12]}"
            else:
                autoencoder = build_autoencoder(name)
                found = f"{autoencoder.channels} channels, 1/{autoencoder.downsampling} per side"
            rows.append((name, f"found, {found}"))
        except StbenchError as error:
            rows.append((name, f"missing: {error}"))
    return rows
