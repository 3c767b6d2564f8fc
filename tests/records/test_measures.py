"""The list of figures that networks are compared by."""

from __future__ import annotations

from typing import Any

import pytest

from stbench.errors import StbenchError
from stbench.records.measures import MEASURES, OF_DETECTOR, get_measure
from stbench.records.schema import Record

VALIDATION: dict[str, Any] = {
    "protocol_hash": "v1",
    "n_clips": 4,
    "draws": 2,
    "edges": [0.0, 0.5, 1.0],
    "loss": 0.25,
    "buckets": [0.4, 0.1],
    "curve": [{"step": 0, "loss": 1.0, "buckets": [1.0, 1.0]}, {"step": 40, "loss": 0.25, "buckets": [0.4, 0.1]}],
}
MOTION = {"n_clips": 8, "direction": 0.75, "speed": 0.5, "color": 1.0, "shape": 0.875, "all": 0.375}
FIDELITY = {"n_frames": 12, "psnr_db": 21.5, "ssim": 0.75, "lpips": 0.25}


@pytest.fixture
def record(content: dict[str, Any]) -> Record:
    step = {**content["timing"]["forward"], "what": "train step", "median": 3.0}
    content["timing"]["train_step"] = step
    content["counts"] |= {"conventions": {"thop_batch3": 4.5}, "convention_notes": ["of three clips"]}
    figures = dict.fromkeys(("fvd_inf", "kvd", "mmd", "precision", "recall", "class_agreement"), 0.5)
    content["quality"] |= {**figures, "motion": MOTION, "fidelity": FIDELITY}
    diagnostics = {"n_pairs": 8, "frame_similarity": [0.9, 0.7, 0.75]}
    return Record.from_json(content | {"validation": VALIDATION, "diagnostics": diagnostics})


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_found_in_a_record(record: Record, name: str) -> None:
    assert isinstance(MEASURES[name].of(record), float)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("validation_loss", 0.25),
        ("fvd", 100.0),
        ("motion_all", 0.375),
        ("similarity_fall", 0.2),
        ("params", 2.0),
        ("train_step_ms", 3000.0),
    ],
)
def test_figures_are_in_the_unit_of_their_title(record: Record, name: str, figure: float) -> None:
    assert MEASURES[name].of(record) == pytest.approx(figure)


def test_what_was_not_measured_is_none(content: dict[str, Any]) -> None:
    record = Record.from_json(content)
    assert MEASURES["validation_loss"].of(record) is None
    assert MEASURES["motion_all"].of(record) is None
    assert MEASURES["validation_loss"].condition(record) is None


def test_a_figure_of_a_detector_names_it(record: Record) -> None:
    assert MEASURES["fvd"].heading(record) == "FVD[shapes3d]"
    assert MEASURES["validation_loss"].heading(record) == "validation loss"
    assert set(OF_DETECTOR) <= set(MEASURES)


def test_conditions_are_those_of_the_kind(record: Record) -> None:
    assert record.conditions
    assert MEASURES["fvd"].condition(record) == "p1"
    assert MEASURES["validation_loss"].condition(record) == "v1"
    assert MEASURES["forward_ms"].condition(record) == record.conditions.but_load
    assert MEASURES["params"].condition(record) is None


def test_curves_leave_out_points_of_other_protocols(content: dict[str, Any]) -> None:
    point = {"fvd": 300.0, "n_fake": 32}
    content["quality"]["curve"] = [
        {"step": 20, "protocol_hash": "p1", **point},
        {"step": 30, "protocol_hash": "p2", **point},
    ]
    record = Record.from_json(content | {"validation": VALIDATION})
    assert MEASURES["fvd"].curve(record) == ((20, 300.0),)
    assert MEASURES["validation_loss"].curve(record) == ((0, 1.0), (40, 0.25))
    assert MEASURES["kvd"].curve(record) == ()


def test_an_unknown_measure_is_answered_with_the_nearest() -> None:
    with pytest.raises(StbenchError, match="validation_loss"):
        get_measure("validation_los")
