"""A fabricated noise study whose answers are known: each distortion gives 10 more, and the bias is 640 / N."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

STATIC = ("gaussian_noise", "blur", "salt_and_pepper", "black_rectangles")
NAMES = (*STATIC, "local_swap", "global_swap", "interleave", "switch")
STRENGTHS = (0.5, 1.0)


def noise_section(figure: str = "fvd", floor: float = 1.0) -> dict[str, Any]:
    def row(name: str, kind: str, strength: float, value: float) -> dict[str, Any]:
        empty = dict.fromkeys(("fvd", "fvd_inf", "fvd_same_clips", "kvd", "kvd_low", "kvd_high"))
        return {"distortion": name, "kind": kind, "strength": strength, "n": 128, **empty, figure: value}

    kinds = {name: "static" if name in STATIC else "temporal" for name in NAMES}
    rows = [row("none", "none", 0.0, floor)]
    rows += [
        row(name, kind, s, floor + 10 * s * (1 + NAMES.index(name))) for name, kind in kinds.items() for s in STRENGTHS
    ]
    judged = [
        {
            "distortion": name,
            "kind": kind,
            "spearman_fvd": 1.0,
            "spearman_fvd_inf": None,
            "spearman_kvd": 1.0,
            "spearman_fvd_same_clips": 1.0,
            "seen_from": 0.5,
            "response": 10.0 * (1 + NAMES.index(name)),
            "share_of_static": 0.4 * (1 + NAMES.index(name)),
        }
        for name, kind in kinds.items()
    ]
    steps = [{"strength": s, "static": 25.0 * s, "temporal": 65.0 * s, "temporal_share": 2.6} for s in STRENGTHS]
    return {
        "figure": figure,
        "floor": floor,
        "floor_largest": 1.5,
        "distortions": judged,
        "by_strength": steps,
        "rows": rows,
    }


def bias_section(dim: int = 64, infinity: bool = True) -> dict[str, Any]:
    """Exactly 640 / N."""
    sizes = (32, 64, 128, 256)
    pairs = [
        {
            "n": n,
            "repeat": repeat,
            "fvd": 640 / n,
            "n_times_fvd": 640.0,
            "kvd": 0.01 * (-1) ** repeat,
            "fvd_inf": 0.25 if infinity and n == 256 else None,
            "fvd_inf_real_fixed": 1.25 if infinity and n == 256 else None,
        }
        for n in sizes
        for repeat in range(2)
    ]
    figures = ("fvd", "n_times_fvd", "fvd_inf", "fvd_inf_real_fixed", "kvd")
    means: list[dict[str, Any]] = [{**row, "kvd": 0.0} for row in pairs[::2]]
    for row in means:
        row |= {f"{name}_sd": None if row[name] is None else 0.5 for name in figures}
    return {
        "dim": dim,
        "effective_dim": 7.5,
        "expected_n_times_fvd": 600.0,
        "settled_from": 32,
        "repeats": 2,
        "by_size": means,
        "rows": pairs,
    }


def study_content(**changes: Any) -> dict[str, Any]:
    check = {**bias_section(dim=40), "dim": 40}
    check["bootstrap"] = {
        "n": 2048,
        "point": 39.7,
        "mean": 75.8,
        "sd": 0.77,
        "replicates_mean": 39.6,
        "replicates_sd": 0.25,
    }
    check["kernel"] = [{"n": 128, "unbiased": -4e-4, "biased": 0.109, "expected_biased": 0.1097}]
    about = {
        "created": "2026-11-21T00:00:00+00:00",
        "detector": "shapes3d",
        "settings": {"num": 128, "seed": 0},
        "protocol": {"feature_dim": 64, "num_frames": 16, "resolution": 32, "dataset": "shapes"},
        "protocol_hash": "abcdef0123456789",
        "machine": {"cpu": "<b>fast</b>"},
        "software": {"torch": "2.13"},
        "wall_s": 1.0,
    }
    return {**about, "noise": noise_section(), "bias": bias_section(), "gaussian_check": check, **changes}


@pytest.fixture
def noise() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the section "noise", judged by `figure`, with `floor` at strength 0."""
    return noise_section


@pytest.fixture
def bias() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the section "bias": features of `dim`, FVD∞ at the largest size or nowhere."""
    return bias_section


@pytest.fixture
def study() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the content of `study.json`, with sections replaced by what is given."""
    return study_content
