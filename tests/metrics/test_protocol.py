"""The presets, and how a protocol is filled in by what detector, clips and run tell."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stbench.data.synthetic.shapes import Shapes
from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.protocol import (
    PROTOCOLS,
    ClipFacts,
    DetectorFacts,
    SamplingFacts,
    clip_facts,
    filled_in,
    get_protocol,
)
from stbench.records.protocol import HASHED_OFFSET, OPEN, Protocol, fields_where, open_fields, protocol_hash
from stbench.settings.components import load_component

DETECTOR = DetectorFacts(
    preprocessing="resize32",
    feature_dim=64,
    detector_weights_sha256="0" * 64,
    detector_code_sha256=None,
    bn_eps=1e-5,
)
CLIPS = ClipFacts(
    num_frames=8,
    frame_stride_real=2,
    resolution=16,
    spatial_rule="drawn at this resolution",
    dataset="shapes",
    dataset_manifest_sha256="1" * 64,
    dataset_code_sha256=None,
    split="all",
)
SAMPLING = SamplingFacts(
    num_real=32,
    num_fake=32,
    sampler="euler",
    num_sampling_steps=4,
    cfg_scale=1.0,
    guided_channels=None,
    class_labels="4 classes in turn",
    sampling_precision="float32",
    ema=True,
    autoencoder="pixels",
    autoencoder_sha256=None,
    sampling_seed=5,
)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_presets_name_a_known_detector_and_its_preprocessing(name: str) -> None:
    protocol = get_protocol(name)
    info = DETECTORS[protocol.detector]
    assert info.feature_dim in (protocol.feature_dim, None)  # None: the weights decide, and cd-fvd's have 1408
    assert protocol.bn_eps == info.bn_eps
    assert protocol.preprocessing in info.preprocessings
    assert protocol.num_frames is OPEN or protocol.num_frames >= info.min_frames


def _changes(name: str) -> dict[str, Any]:
    """What a preset says in place of the fields' defaults."""
    protocol = get_protocol(name)
    of_detector = ("detector", "preprocessing", "feature_dim", "bn_eps")
    declared = {field.name: field.default for field in dataclasses.fields(Protocol) if field.name not in of_detector}
    return {field: getattr(protocol, field) for field, value in declared.items() if getattr(protocol, field) != value}


def test_what_each_preset_says() -> None:
    latte = {"num_frames": 16, "resolution": 256}
    styleganv = latte | {"frame_stride_real": 1, "spatial_rule": "resize-crop-lanczos"}
    cdfvd = styleganv | {"spatial_rule": "cdfvd-videos", "offset_rule_fake": HASHED_OFFSET, "num_real": None}
    frames = {"spatial_rule": "cdfvd-frames"}
    assert {name: _changes(name) for name in PROTOCOLS} == {
        "builtin": {"num_real": 256, "num_fake": 256},
        "styleganv-2048-16f": styleganv,
        "styleganv-2048-128f": styleganv | {"num_frames": 128},
        "mocogan-hd-2048-16f": {"num_frames": 16, "resolution": 128, "frame_stride_real": 2},
        "latte-2048-16f": latte | {"frame_stride_real": 3},
        "latte-taichi": latte | {"frame_stride_real": 6},
        "cdfvd-i3d": cdfvd,
        "cdfvd-i3d-frames": cdfvd | frames,
        "cdfvd-videomae": cdfvd,
        "cdfvd-videomae-frames": cdfvd | frames,
        "tganv2-is-2048-16f": {"num_frames": 16},
    }
    of_detector = {name: (each.detector, each.preprocessing, each.feature_dim) for name, each in PROTOCOLS.items()}
    assert of_detector == {
        "builtin": ("shapes3d", "resize32", 64),
        "styleganv-2048-16f": ("i3d", "styleganv", 400),
        "styleganv-2048-128f": ("i3d", "styleganv", 400),
        "mocogan-hd-2048-16f": ("i3d", "cdfvd", 400),
        "latte-2048-16f": ("i3d", "styleganv", 400),
        "latte-taichi": ("i3d", "styleganv", 400),
        "cdfvd-i3d": ("i3d", "cdfvd", 400),
        "cdfvd-i3d-frames": ("i3d", "cdfvd", 400),
        "cdfvd-videomae": ("videomae", "cdfvd", 1408),
        "cdfvd-videomae-frames": ("videomae", "cdfvd", 1408),
        "tganv2-is-2048-16f": ("c3d", "tgan2", 101),
    }


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(StbenchError, match="did you mean 'latte-2048-16f'"):
        get_protocol("latte-2048-16")


@pytest.mark.parametrize(
    ("facts", "told_by"), [(DetectorFacts, "detector"), (ClipFacts, "dataset"), (SamplingFacts, "run")]
)
def test_each_tells_what_the_fields_say_it_tells(facts: type, told_by: str) -> None:
    assert {field.name for field in dataclasses.fields(facts)} == set(fields_where(told_by=told_by))


def test_facts_stand_above_the_preset() -> None:
    filled = filled_in(PROTOCOLS["builtin"], detector=DETECTOR, clips=CLIPS, sampling=SAMPLING)
    facts = {**vars(DETECTOR), **vars(CLIPS), **vars(SAMPLING)}
    assert {name: getattr(filled, name) for name in facts} == facts
    assert replace(filled, **{name: getattr(PROTOCOLS["builtin"], name) for name in facts}) == PROTOCOLS["builtin"]
    assert len(protocol_hash(filled)) == 64
    again = filled_in(filled, detector=DETECTOR, clips=CLIPS, sampling=replace(SAMPLING, num_real=None))
    assert replace(again, num_real=32) == filled


def test_without_a_run_what_nobody_said_is_none() -> None:
    asked = replace(PROTOCOLS["builtin"], sampler="ddim", num_real=9)
    filled = filled_in(asked, detector=DETECTOR, clips=CLIPS)
    told = {name: getattr(filled, name) for name in fields_where(told_by="run")}
    said = {"num_real": 9, "num_fake": 256, "sampler": "ddim", "sampling_seed": 0}
    assert {name: value for name, value in told.items() if value is not None} == said


def test_a_field_that_nobody_fills_is_refused() -> None:
    asked = replace(PROTOCOLS["builtin"], split=OPEN, short_video_rule=OPEN)
    with pytest.raises(StbenchError) as caught:
        filled_in(asked, detector=DETECTOR, clips=CLIPS, sampling=SAMPLING)
    assert str(caught.value) == "protocol.short_video_rule is open, and neither detector nor clips nor run tell it"


def test_the_manifest_may_come_later_but_must_come() -> None:
    clips = replace(CLIPS, dataset_manifest_sha256=OPEN)
    filled = filled_in(PROTOCOLS["builtin"], detector=DETECTOR, clips=clips, sampling=SAMPLING)
    assert open_fields(filled) == ["dataset_manifest_sha256"]
    with pytest.raises(StbenchError, match="dataset_manifest_sha256 is open"):
        protocol_hash(filled)


def test_what_a_dataset_tells() -> None:
    dataset = Shapes(16, 8, 2, length=3)
    expected = replace(CLIPS, dataset_manifest_sha256=dataset.describe().manifest_sha256)
    assert clip_facts(dataset, load_component("dataset", "shapes")) == expected


OWN_DATASET = """
from dataclasses import dataclass
from stbench.data.synthetic import Clouds

@dataclass(eq=False, kw_only=True)
class Brighter(Clouds):
    gain: float = 1.0
"""


def test_a_dataset_of_ones_own_tells_of_its_code_and_arguments(tmp_path: Path) -> None:
    """Its manifest need not know of them."""
    (tmp_path / "brighter.yaml").write_text("dataset: brighter_clouds:Brighter\nimage_size: 8\nnum_frames: 4\n")
    (tmp_path / "brighter_clouds.py").write_text(OWN_DATASET)
    component = load_component("dataset", str(tmp_path / "brighter.yaml")).with_arguments({"frame_stride": 1})
    dataset = component.construct()

    def told(**arguments: object) -> ClipFacts:
        return clip_facts(dataset, component.with_arguments(arguments))

    assert told() == told(seed=3, frame_stride=2, image_size=16)
    assert told().dataset_code_sha256 is not None
    louder = told(gain=2.0)
    assert replace(louder, dataset_code_sha256=told().dataset_code_sha256) == told() != louder


def test_names_can_be_listed_without_torch() -> None:
    code = "import sys, stbench.metrics.catalogue, stbench.metrics.protocol; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_detector_of_ones_own_is_the_builtin_protocol_that_it_completes() -> None:
    own = get_protocol("my_module:MyDetector")
    builtin = get_protocol("builtin")
    assert own.detector == "my_module:MyDetector"
    assert all(getattr(own, name) is OPEN for name in ("preprocessing", "feature_dim", "bn_eps"))
    assert (own.num_real, own.num_fake) == (builtin.num_real, builtin.num_fake)
