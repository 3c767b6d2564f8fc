"""Shapes of a network's blocks, beside what claims state of them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from stbench import paths
from stbench.records.claims import Claim, load_claims
from stbench.records.costs import VariantCost
from stbench.reports.terminal import print_rows, print_sentence


@dataclass(frozen=True)
class Statement:
    """What a claim states of a variant's blocks, as `label`, and what the claim's sources are."""

    label: str
    claim: Claim
    sources: str


def statements_on(variant: str) -> list[Statement]:
    """What the known files of claims state of the blocks of a variant as its file describes it."""
    found = []
    for name in paths.config_files("claims"):
        claims = load_claims(name)
        for claim in claims.claims:
            if claim.relation == "shapes" and claims.arms[claim.arms[0]].words == f"variant={variant}":
                sources = "; ".join(claims.sources[source] for source in claim.source)
                found.append(Statement(f"{name}, {claim.id}", claim, sources))
    return found


def print_shapes(of: VariantCost) -> None:
    """Print the shapes of a variant's blocks, and where a claim about latents of this size says otherwise."""
    shapes, size = of.shapes or {}, tuple(of.input["latents"][2:])
    statements = statements_on(of.variant["name"])
    beside = [each for each in statements if each.claim.stated_size == size]
    rows = [("block", "channels, size", *(each.label for each in beside))]
    for block, shape in shapes.items():
        stated = [each.claim.shapes.get(block, "") for each in beside]
        rows.append((block, shape, *(f"{each} (differs)" if each not in ("", shape) else each for each in stated)))
    print()
    print_rows(rows)
    for each in beside:
        differing = [block for block, stated in each.claim.shapes.items() if stated != shapes.get(block)]
        said = f"differs at {', '.join(differing)}" if differing else "says the same"
        print_sentence(f"{each.label} {said}; its source: {each.sources}")
    for each in statements:
        if each not in beside:
            print_sentence(f"{each.label} states shapes of latents of {'x'.join(map(str, each.claim.stated_size))}")
