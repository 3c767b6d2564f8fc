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
from stbench.metrics.kernel import JEDI, KVD, MIN_CLIPS_FOR_KERNEL, biased_mmd, kernel_distance
from stbench.metrics.neighbours import neighbour_scores
from stbench.records.protocol import Protocol, protocol_hash
from stbench.records.sections import FvdInfFit, Quality


def assess(protocol: Protocol, real_features: ArrayLike, fake_features: ArrayLike) -> Quality:
    """Compute the distances that a protocol asks for and that the number of clips allows.

    Args:
        protocol: what was measured; goes into the section with its hash.
        real_features: (n_real, D).
        fake_features: (n_fake, D).

    Raises:
        StbenchError: features that are not finite, or of another width than the protocol says.
    """
    real, fake = check_pair(real_features, fake_features)
    if real.shape[1] != protocol.feature_dim:
        raise StbenchError(f"features: protocol says {protocol.feature_dim} dimensions, got {real.shape[1]}")
    n_real, n_fake = len(real), len(fake)
    other_number = _other_number(protocol, n_real, n_fake)
    refused = other_number or _too_few(protocol, n_real, n_fake)
    figures: dict[str, Any] = {}
    if not refused:
        figures["fvd"] = frechet_distance(real, fake)
    if not refused and min(n_real, n_fake) >= min_samples_for_extrapolation(protocol.feature_dim):
        # The distance at infinitely many clips, which needs clips enough to see the bias shrink.
        at_infinity, bounds = frechet_distance_infinity(real, fake), interval(real, fake)
        figures |= {
            "fvd_inf": at_infinity.distance,
            "fvd_inf_fit": FvdInfFit(
                slope=at_infinity.slope,
                sample_sizes=tuple(at_infinity.sample_sizes),
                distances=tuple(at_infinity.distances),
            ),
            "fvd_interval": (bounds.low, bounds.high),
        }
    if min(n_real, n_fake) >= MIN_CLIPS_FOR_KERNEL:
        for name, kernel in (("kvd", KVD), ("mmd", JEDI)):
            result = kernel_distance(real, fake, kernel)
            figures |= {name: result.distance, f"{name}_interval": tuple(result.interval)}
    if not other_number and min(n_real, n_fake) >= MIN_CLIPS_FOR_KERNEL:
        # Defined for a handful of clips already, and moving with their number: only at the protocol's.
        figures |= {"mmd_biased": biased_mmd(real, fake, JEDI), **asdict(neighbour_scores(real, fake))}
    if not other_number:
        figures["inception_score"] = _inception_score(protocol, fake)
    return Quality(
        protocol=protocol,
        protocol_hash=protocol_hash(protocol),
        detector=protocol.detector,
        n_real=n_real,
        n_fake=n_fake,
        **figures,
        refused=refused,
        label="refused" if refused else _label(protocol, min(n_real, n_fake)),
    )


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
    if min(n_real, n_fake) < MIN_CLIPS_FOR_KERNEL:
        return f"kvd needs at least {MIN_CLIPS_FOR_KERNEL} on each side"
    return "see kvd, which is unbiased at any number of clips"


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
