"""Counts of a claim's arms, and what an inflated network does."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stbench.errors import StbenchError
from stbench.launch.exact import count_network, inflation_error, untrained_evidence
from stbench.records.claims import load_claims
from stbench.records.judging import INFLATED, judge_untrained

VIDEO = ["variant=pseudo3d_unet", "variant.size=tiny"]
IMAGE = [*VIDEO, "variant.enable_time=false"]


def test_a_variant_is_counted_by_itself() -> None:
    counts = count_network(["variant=latte1", "variant.size=S"]).counts
    assert counts.params_trainable == 32_480_672
    assert counts.conventions["thop_batch3"] == pytest.approx(265.728246)


def test_an_inflated_network_is_the_image_network() -> None:
    assert inflation_error(VIDEO, IMAGE) < INFLATED


def test_another_image_network_is_another_one() -> None:
    """One that shifts half of its channels by a frame mixes the frames from the first step on."""
    assert inflation_error([*VIDEO, "variant.token_shift=true"], IMAGE) > 0.01


def test_weights_without_a_place_are_refused() -> None:
    with pytest.raises(StbenchError, match=re.escape("no place in the video network: conv_in.temporal.weight")):
        inflation_error(IMAGE, VIDEO)


def test_the_table_of_the_videocrafter_notes_is_wrong_in_one_place() -> None:
    claims = load_claims("latte")
    [claim] = [claim for claim in claims.claims if claim.id == "U1"]
    claims = replace(claims, claims=(claim,))
    [verdict] = judge_untrained(claims, untrained_evidence(claims))
    assert verdict.answer == "contradicted"
    assert verdict.reason == "decoder-5: 1920->1280 20x32 instead of 2560->1280 20x32"
