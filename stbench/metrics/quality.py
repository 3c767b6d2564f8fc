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
from stbench.metrics.frechet import FloatArray, check_pair, frechet_distance
from stbench.metrics.inception_score import inception_score
from stbench.metrics.intervals import MIN_SAMPLES, frechet_jackknife, min_samples_at_infinity
from stbench.metrics.kernel import JEDI, KVD, MIN_CLIPS_FOR_KERNEL, biased_mmd, kernel_distance
from stbench.metrics.neighbours import neighbour_scores
from stbench.records.protocol import Protocol, protocol_hash
from stbench.records.sections import Quality


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
    other_number, singular = _objections(protocol, n_real, n_fake)
    refused = other_number or singular
    figures: dict[str, Any] = {}
    if not refused:
        figures |= _frechet_figures(real, fake)
    if min(n_real, n_fake) >= MIN_CLIPS_FOR_KERNEL:
        for name, kernel in (("kvd", KVD), ("mmd", JEDI)):
            result = kernel_distance(real, fake, kernel)
            figures |= {name: result.distance, f"{name}_interval": result.interval}
    if not other_number and min(n_real, n_fake) >= MIN_CLIPS_FOR_KERNEL:
        # Defined for a handful of clips already, and moving with their number: only at the protocol's.
        figures |= {"mmd_biased": biased_mmd(real, fake, JEDI), **asdict(neighbour_scores(real, fake))}
    info = DETECTORS.get(protocol.detector)
    if not other_number and info and info.has_inception_score and n_fake >= protocol.feature_dim:
        figures["inception_score"] = inception_score(fake).score
    if refused:
        label = "refused"
    elif info is None or info.standard_samples is None:
        label = "internal"
    else:
        label = "standard" if min(n_real, n_fake) >= info.standard_samples else "exploratory"
    return Quality(
        protocol=protocol,
        protocol_hash=protocol_hash(protocol),
        detector=protocol.detector,
        n_real=n_real,
        n_fake=n_fake,
        **figures,
        refused=refused,
        label=label,
    )


def _frechet_figures(real: FloatArray, fake: FloatArray) -> dict[str, Any]:
    """The Fréchet distance, with what the number of clips allows to say of it."""
    fewest = min(len(real), len(fake))
    if fewest < MIN_SAMPLES:
        return {"fvd": frechet_distance(real, fake)}
    found = frechet_jackknife(real, fake)
    figures: dict[str, Any] = {"fvd": found.distance, "fvd_interval": found.interval}
    if fewest >= min_samples_at_infinity(real.shape[1]):
        figures |= {"fvd_inf": found.at_infinity, "fvd_inf_interval": found.interval_at_infinity}
    return figures


def refusal(protocol: Protocol, n_real: int, n_fake: int) -> str | None:
    """Why there is no FVD at these numbers of clips, or None: what `assess` will say, before any clip is made."""
    other_number, singular = _objections(protocol, n_real, n_fake)
    return other_number or singular


def _objections(protocol: Protocol, n_real: int, n_fake: int) -> tuple[str | None, str | None]:
    """That the protocol asks for other numbers of clips, and that the covariance of a side would be singular."""
    if min(n_real, n_fake) < MIN_CLIPS_FOR_KERNEL:
        advice = f"kvd needs at least {MIN_CLIPS_FOR_KERNEL} on each side"
    else:
        advice = "see kvd, which is unbiased at any number of clips"
    sides = (("real", n_real, protocol.num_real), ("generated", n_fake, protocol.num_fake))
    others = (
        f"the protocol asks for {asked} {side} clips, got {got}; {advice}"
        for side, got, asked in sides
        if asked is not None and got != asked
    )
    singular = None
    if min(n_real, n_fake) <= protocol.feature_dim:
        singular = (
            f"FVD of {protocol.detector} needs more than {protocol.feature_dim} clips on each side, "
            f"got {n_real} real and {n_fake} generated; {advice}"
        )
    return next(others, None), singular
