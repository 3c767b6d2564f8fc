"""What claims say of networks that nobody has to train: their counts, and what one does with the weights of another."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from stbench.backbones.trial import fill_zeros
from stbench.errors import StbenchError
from stbench.profiling.counts import count
from stbench.profiling.shapes import block_shapes
from stbench.profiling.variants import Variant, plan_variants
from stbench.records.claims import Claims
from stbench.records.judging import Evidence
from stbench.records.sections import Cost
from stbench.runtime.failure import Failure, attempt
from stbench.settings.options import ProfileOptions

TRIED_LATENTS = "4x5x16x16"  # of the clip that an inflated network is tried on

T = TypeVar("T")


def untrained_evidence(claims: Claims) -> Evidence:
    """Count and try what claims say of networks that nobody trains; what fails says why."""
    asked = [claim for claim in claims.claims if not claim.needs_training and not claim.not_yet]
    counted = dict.fromkeys(arm for claim in asked if claim.counted for arm in claim.named_arms)
    inflated = [claim for claim in asked if claim.relation == "inflates"]
    shaped = [claim for claim in asked if claim.relation == "shapes"]
    words = {arm: shlex.split(claims.arms[arm].words) for claim in asked for arm in claim.named_arms}
    return Evidence(
        counts={arm: _or_reason(attempt(count_network, words[arm])) for arm in counted},
        inflations={
            claim.id: _or_reason(attempt(inflation_error, *(words[arm] for arm in claim.arms[:2])))
            for claim in inflated
        },
        shapes={
            claim.id: _or_reason(attempt(shapes_of_network, words[claim.arms[0]], claim.stated_size))
            for claim in shaped
        },
    )


def _or_reason(outcome: T | Failure) -> T | str:
    return outcome.reason if isinstance(outcome, Failure) else outcome


def count_network(words: Sequence[str]) -> Cost:
    """Parameters and operations of a variant for latents of 4x16x32x32, on the meta device.

    Args:
        words: variant, variant.KEY and preset, as of `stbench profile`.
    """
    subject = _variant(words, ProfileOptions(counts_only=True)).subject
    return Cost(counts=count(subject.construct, subject.workload, with_fvcore=False))


def shapes_of_network(words: Sequence[str], size: tuple[int, int]) -> dict[str, str]:
    """Shapes of a variant's blocks for latents of 4x16 and a size H, W, on the meta device.

    Args:
        words: as of `count_network`.
        size: H and W of the latents.
    """
    latents = "x".join(map(str, (4, 16, *size)))
    subject = _variant(words, ProfileOptions(counts_only=True, latents=latents)).subject
    return block_shapes(subject.construct, subject.workload)


@torch.no_grad()
def inflation_error(video: Sequence[str], image: Sequence[str]) -> float:
    """How far a video network that was given an image network's weights is from it, frame by frame.

    The weights of the image network are random, where they start as zeros as well; what the video network has beside
    them is as initialised.

    Args:
        video: words of the video network.
        image: words of the image network, all of whose weights must have a place in the other.

    Returns:
        The largest difference of the two, as a share of the largest value.

    Raises:
        StbenchError: the weights do not fit, or the image network makes the same of everything.
    """
    torch.manual_seed(0)
    networks = [_variant(words, ProfileOptions(latents=TRIED_LATENTS)).subject.construct() for words in (image, video)]
    painter, film = (network.eval() for network in networks)
    fill_zeros(painter)
    _hand_on_weights(painter, film)
    channels, frames, size, _ = map(int, TRIED_LATENTS.split("x"))
    clips, timesteps = torch.randn(2, channels, frames, size, size), torch.tensor([3, 700])
    expected = torch.cat([painter(frame, timesteps) for frame in clips.split(1, dim=2)], dim=2)
    if expected.std() == 0:
        raise StbenchError("the image network makes the same of every frame, which says nothing of another network")
    return float((film(clips, timesteps) - expected).abs().max() / expected.abs().max())


def _variant(words: Sequence[str], options: ProfileOptions) -> Variant:
    [variant] = plan_variants(words, options).variants.values()
    return variant


def _hand_on_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy every weight into the network that has one of the same name and shape."""
    weights = source.state_dict()
    places = target.state_dict()
    homeless = [name for name, weight in weights.items() if name not in places or places[name].shape != weight.shape]
    if homeless:
        raise StbenchError(
            f"weights of the image network have no place in the video network: {', '.join(homeless[:3])}"
        )
    target.load_state_dict(weights, strict=False)
