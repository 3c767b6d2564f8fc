"""Fixtures that every room's tests share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stbench.records.protocol import METRIC_VERSION, Protocol
from stbench.records.schema import READ_VERSIONS, SCHEMA_VERSION
from stbench.records.sections import CostConditions

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def reference(repository: Path) -> Path:
    """The folder of published records; who reads it waits, after a version is raised, until they are renewed."""
    folder = repository / "results" / "reference"
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        protocol = content.get("quality", content).get("protocol", {})
        metric = protocol.get("metric_version", METRIC_VERSION)
        schema = content["schema"] if "run_id" in content else SCHEMA_VERSION
        if schema not in READ_VERSIONS or metric != METRIC_VERSION:
            pytest.skip(f"{path.relative_to(repository)} awaits renewal: schema version {schema}, metrics {metric}")
    return folder


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """A few real videos kept beside the checkout; tests that need them skip where they are missing."""
    clips = REPOSITORY.parent / "shared" / "clips"
    if not clips.is_dir():
        pytest.skip(f"the sample videos are not here: {clips}")
    return clips


@pytest.fixture(scope="session")
def protocol() -> Protocol:
    """The protocol of a small run, everything filled in."""
    return Protocol(
        detector="shapes3d",
        preprocessing="resize32",
        feature_dim=64,
        num_frames=8,
        detector_weights_sha256="0" * 64,
        detector_code_sha256=None,
        bn_eps=1e-5,
        frame_stride_real=1,
        resolution=16,
        dataset="shapes",
        dataset_manifest_sha256="1" * 64,
        dataset_code_sha256=None,
        sampler="ddpm",
        num_sampling_steps=10,
        cfg_scale=1.0,
        guided_channels=None,
        class_labels="4 classes in turn",
        sampling_precision="float32",
        ema=True,
        autoencoder="pixels",
        autoencoder_sha256=None,
    )


@pytest.fixture(scope="session")
def conditions() -> CostConditions:
    """What the costs of a small run were measured under."""
    return CostConditions(
        machine="box-1",
        torch="2.13.0",
        device="cpu",
        threads=2,
        precision="float32",
        attention="math",
        compile="off",
        freed_memory="kept",
        objective="flow",
        latents=(3, 4, 16, 16),
        batch_size=2,
        joint_images=0,
        load_average=0.5,
    )
