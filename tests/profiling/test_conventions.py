"""Published counts, derived again: every figure of `results/paper/latte.yaml`, and what it leaves out."""

from __future__ import annotations

from math import floor
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from stbench.backbones.latte import Latte
from stbench.backbones.pseudo3d_unet import Pseudo3DUNet
from stbench.profiling.conventions import NOTES, latte_thop_operations, published_conventions

PAPER = yaml.safe_load((Path(__file__).resolve().parents[2] / "results" / "paper" / "latte.yaml").read_text())
FIGURES = [(figure, row) for figure in PAPER["figures"] for row in figure["rows"]]


def build(**arguments: Any) -> Latte:
    with torch.device("meta"):
        return Latte(**arguments)


def cut_off(value: float) -> float:
    return floor(100 * value) / 100


@pytest.mark.parametrize(
    ("figure", "row"), FIGURES, ids=[f"{figure['unit']} {row['arguments']}" for figure, row in FIGURES]
)
def test_printed_figure(figure: dict[str, Any], row: dict[str, Any]) -> None:
    latte = build(**row["arguments"])
    if figure["convention"] == "thop_batch3":
        assert cut_off(published_conventions(latte)["thop_batch3"]) == row["value"]
        return
    parameters = sum(p.numel() for p in latte.parameters())
    if latte.arrangement in ("sequential", "parallel"):
        parameters -= sum(p.numel() for p in latte.patch_embed.parameters())
    assert cut_off(parameters / 1e6) == row["value"]


# thop's count at batch 3, in G, of the authors' network: measured with thop 0.1.1 for S/2 and B/8, else by its rule.
THOP = {
    ("XL", 2): 5572.695048192,
    ("XL", 4): 1397.795734,
    ("XL", 8): 354.070905,
    ("L", 2): 3774.399382,
    ("L", 4): 946.849186,
    ("L", 8): 239.961637,
    ("B", 2): 1061.987549,
    ("B", 4): 266.645275,
    ("B", 8): 67.809705984,
    ("S", 2): 265.728245760,
    ("S", 4): 66.804204,
    ("S", 8): 17.073193,
}


@pytest.mark.parametrize(("size", "patch_size"), THOP)
def test_thop_count_of_the_published_sizes(size: str, patch_size: int) -> None:
    count = latte_thop_operations(build(size=size, patch_size=patch_size)) / 1e9
    assert count == pytest.approx(THOP[size, patch_size], abs=6e-7)


def test_thop_counts_the_projection_of_a_text_embedding() -> None:
    """S/4 with the authors' 77 x 768 values of text: 66.872 G by thop itself."""
    text_dim = 77 * 768
    count = latte_thop_operations(build(size="S", patch_size=4, text_dim=text_dim))
    assert count == latte_thop_operations(build(size="S", patch_size=4)) + 3 * text_dim * 384
    assert count / 1e9 == pytest.approx(66.872, abs=5e-4)


def test_variant_4_at_equal_patch_size_is_no_cheaper() -> None:
    """The figure that the note quotes, and the split reading, both without the patch embedding's 0.2265 G."""
    count = latte_thop_operations(build(size="XL", arrangement="parallel")) / 1e9
    assert f"{count:.3f} G" in NOTES["thop_batch3"]
    assert count + 0.226492416 == pytest.approx(6152.7280, abs=5e-5)
    split = latte_thop_operations(build(size="XL", arrangement="parallel", reading="split")) / 1e9
    assert split + 0.226492416 == pytest.approx(5492.4318, abs=5e-5)


def test_networks_without_published_counts_have_none() -> None:
    with torch.device("meta"):
        others = [
            Pseudo3DUNet(size="tiny"),
            Latte(size="S", conditioning="tokens"),
            Latte(size="S", arrangement="spatial"),
        ]
    assert [published_conventions(network) for network in others] == [{}, {}, {}]
