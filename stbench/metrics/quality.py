"""The `quality` section of a record: distances between real and generated clips, or the reason why there is none.

Fréchet distances are biased upwards, the more the fewer clips: with no more clips than dimensions the covariance is
singular and the number says little but N. Such a number is refused here, not printed; the kernel distances, which are
unbiased, are given in any case. Other figures that move with the number of clips are given at the protocol's number.
Clips are never repeated to reach a number.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from numpy.typing import ArrayLike

from stbench.errors import StbenchError
from stbench.metrics.catalogue import DETECTORS
from stbench.metrics.frechet import (
    FloatArray,
    check_pair,
    frechet_distance,
    frechet_distance_infinity,
    min_samples_for_extrapolation,
)
from stbench.metrics.inception_score import inception_score
from stbench.metrics.intervals import interval
from stbench.metrics.kernel import JEDI, KVD, MIN_SAMPLES, PolynomialKernel, biased_mmd, kernel_distance
from stbench.metrics.neighbours import neighbour_scores
from stbench.records.protocol import Protocol, protocol_hash


def assess(protocol: Protocol, real_features: ArrayLike, fake_features: ArrayLike) -> dict[str, Any]:
    """Compute the distances that a protocol asks for and that the number of clips allows.

    Args:
        protocol: what was measured; goes into the section with its hash.
        real_features: (n_real, D).
        fake_features: (n_fake, D).

    Returns:
        The section: protocol, protocol_hash, detector, n_real, n_fake, and these figures, None where refused:
        fvd;
        fvd_inf, with the line it was read from in fvd_inf_fit (slope, sample_sizes, distances);
        fvd_interval, the 95 % jackknife interval of what fvd_inf estimates, which need not lie in its middle;
        kvd and kvd_interval;
        mmd and mmd_interval (kernel and scale of JEDi, unbiased), mmd_biased (as JEDi's released code computes it);
        precision, recall, density, coverage;
        inception_score of the generated clips in one split, where the detector is the classifier of one.
        Then refused, None or why there is no fvd in one line; label, one of "standard" (a published detector at its
        usual number of clips), "exploratory" (fewer), "internal" (a detector known to stbench only), "refused".

    Raises:
        StbenchError: features that are not finite, or of another width than the protocol says.
    """
    real, fake = check_pair(real_features, fake_features)
    if real.shape[1] != protocol.feature_dim:
        raise StbenchError(f"features: protocol says {protocol.feature_dim} dimensions, got {real.shape[1]}")
    n_real, n_fake = len(real), len(fake)
    other_number = _other_number(protocol, n_real, n_fake)
    refused = other_number or _too_few(protocol, n_real, n_fake)
    return {
        "protocol": protocol.as_dict(),
        "protocol_hash": protocol_hash(protocol),
        "detector": protocol.detector,
        "n_real": n_real,
        "n_fake": n_fake,
        "fvd": None if refused else frechet_distance(real, fake),
        **_bias_free_entries(real, fake, bool(refused)),
        **_kernel_entries("kvd", real, fake, KVD),
        **_kernel_entries("mmd", real, fake, JEDI),
        **_number_bound_entries(real, fake, bool(other_number)),
        "inception_score": None if other_number else _inception_score(protocol, fake),
        "refused": refused,
        "label": "refused" if refused else _label(protocol, min(n_real, n_fake)),
    }


def _other_number(protocol: Protocol, n_real: int, n_fake: int) -> str | None:
    """That there are not as many clips as the protocol asks for, or None."""
    for side, got, asked in (("real", n_real, protocol.num_real), ("generated", n_fake, protocol.num_fake)):
        if asked is not None and got != asked:
            return f"the protocol asks for {asked} {side} clips, got {got}; {_advice(n_real, n_fake)}"
    return None


def _too_few(protocol: Protocol, n_real: int, n_fake: int) -> str | None:
    """That the covariance of a side would be singular, or None."""
    if min(n_real, n_fake) > protocol.feature_dim:
        return None
    return (
        f"FVD of {protocol.detector} needs more than {protocol.feature_dim} clips on each side, "
        f"got {n_real} real and {n_fake} generated; {_advice(n_real, n_fake)}"
    )


def _advice(n_real: int, n_fake: int) -> str:
    if min(n_real, n_fake) < MIN_SAMPLES:
        return f"kvd needs at least {MIN_SAMPLES} on each side"
    return "see kvd, which is unbiased at any number of clips"


def _bias_free_entries(real: FloatArray, fake: FloatArray, refused: bool) -> dict[str, Any]:
    """The distance at infinitely many clips, which needs clips enough to see the bias shrink."""
    if refused or min(len(real), len(fake)) < min_samples_for_extrapolation(real.shape[1]):
        return {"fvd_inf": None, "fvd_inf_fit": None, "fvd_interval": None}
    at_infinity, bounds = frechet_distance_infinity(real, fake), interval(real, fake)
    fit = {
        "slope": at_infinity.slope,
        "sample_sizes": list(at_infinity.sample_sizes),
        "distances": list(at_infinity.distances),
    }
    return {"fvd_inf": at_infinity.distance, "fvd_inf_fit": fit, "fvd_interval": [bounds.low, bounds.high]}


def _kernel_entries(name: str, real: FloatArray, fake: FloatArray, kernel: PolynomialKernel) -> dict[str, Any]:
    if min(len(real), len(fake)) < MIN_SAMPLES:
        return {name: None, f"{name}_interval": None}
    result = kernel_distance(real, fake, kernel)
    return {name: result.distance, f"{name}_interval": list(result.interval)}


def _number_bound_entries(real: FloatArray, fake: FloatArray, refused: bool) -> dict[str, Any]:
    """Figures that are defined for a handful of clips already, and move with their number."""
    if refused or min(len(real), len(fake)) < MIN_SAMPLES:
        return dict.fromkeys(("mmd_biased", "precision", "recall", "density", "coverage"))
    return {"mmd_biased": biased_mmd(real, fake, JEDI), **asdict(neighbour_scores(real, fake))}


def _inception_score(protocol: Protocol, fake: FloatArray) -> float | None:
    """The score of clips that are at least as many as there are classes."""
    info = DETECTORS.get(protocol.detector)
    if info is None or not info.has_inception_score or len(fake) < protocol.feature_dim:
        return None
    return inception_score(fake).score


def _label(protocol: Protocol, fewest: int) -> str:
    info = DETECTORS.get(protocol.detector)
    if info is None or info.standard_samples is None:
        return "internal"
    return "standard" if fewest >= info.standard_samples else "exploratory"
