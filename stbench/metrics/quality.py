"""The `quality` section of a record: distances between real and generated clips, or the reason why there is none.

Fréchet distances are biased upwards, the more the fewer clips: with no more clips than dimensions the covariance is
singular and the number says little but N. Such a number is refused here, not printed; the kernel distance, which is
unbiased, is given in any case. Clips are never repeated to reach a number.
"""

from __future__ import annotations

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
from stbench.metrics.kernel import MIN_SAMPLES, kernel_distance
from stbench.metrics.protocol import Protocol, protocol_hash


def assess(protocol: Protocol, real_features: ArrayLike, fake_features: ArrayLike) -> dict[str, Any]:
    """Compute the distances that a protocol asks for and that the number of clips allows.

    Args:
        protocol: what was measured; goes into the section with its hash.
        real_features: (n_real, D).
        fake_features: (n_fake, D).

    Returns:
        The section: protocol, protocol_hash, detector, n_real, n_fake; fvd, fvd_inf, kvd, kvd_interval, each None where
        refused; refused, None or the reason in one line; label, one of "standard" (a published detector at its usual
        number of clips), "exploratory" (fewer), "internal" (a detector known to stbench only), "refused".

    Raises:
        StbenchError: features that are not finite, or of another width than the protocol says.
    """
    real, fake = check_pair(real_features, fake_features)
    if real.shape[1] != protocol.feature_dim:
        raise StbenchError(f"features: protocol says {protocol.feature_dim} dimensions, got {real.shape[1]}")
    refused = _refusal(protocol, len(real), len(fake))
    return {
        "protocol": protocol.as_dict(),
        "protocol_hash": protocol_hash(protocol),
        "detector": protocol.detector,
        "n_real": len(real),
        "n_fake": len(fake),
        "fvd": None if refused else frechet_distance(real, fake),
        "fvd_inf": None if refused else _fvd_infinity(real, fake),
        **_kernel_entries(real, fake),
        "refused": refused,
        "label": "refused" if refused else _label(protocol, min(len(real), len(fake))),
    }


def _refusal(protocol: Protocol, n_real: int, n_fake: int) -> str | None:
    """Why there is no Fréchet distance, or None."""
    for side, got, asked in (("real", n_real, protocol.num_real), ("generated", n_fake, protocol.num_fake)):
        if asked is not None and got != asked:
            return f"the protocol asks for {asked} {side} clips, got {got}; {_advice(n_real, n_fake)}"
    if min(n_real, n_fake) <= protocol.feature_dim:
        return (
            f"FVD of {protocol.detector} needs more than {protocol.feature_dim} clips on each side, "
            f"got {n_real} real and {n_fake} generated; {_advice(n_real, n_fake)}"
        )
    return None


def _advice(n_real: int, n_fake: int) -> str:
    if min(n_real, n_fake) < MIN_SAMPLES:
        return f"kvd needs at least {MIN_SAMPLES} on each side"
    return "see kvd, which is unbiased at any number of clips"


def _fvd_infinity(real: FloatArray, fake: FloatArray) -> float | None:
    if min(len(real), len(fake)) < min_samples_for_extrapolation(real.shape[1]):
        return None
    return frechet_distance_infinity(real, fake).distance


def _kernel_entries(real: FloatArray, fake: FloatArray) -> dict[str, Any]:
    if min(len(real), len(fake)) < MIN_SAMPLES:
        return {"kvd": None, "kvd_interval": None}
    result = kernel_distance(real, fake)
    return {"kvd": result.distance, "kvd_interval": list(result.interval)}


def _label(protocol: Protocol, fewest: int) -> str:
    info = DETECTORS.get(protocol.detector)
    if info is None or info.standard_samples is None:
        return "internal"
    return "standard" if fewest >= info.standard_samples else "exploratory"
