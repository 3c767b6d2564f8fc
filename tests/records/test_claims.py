"""Files of claims: what they may say, and how what they may not say is answered."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from stbench import paths
from stbench.errors import StbenchError
from stbench.records.claims import Claims, load_claims, parse_claims

CONTENT: dict[str, Any] = {
    "title": "Mine",
    "sources": {"paper": "a paper"},
    "arms": {
        "base": "variant=latte1",
        "image": {"words": "variant=dit", "at": {"large": "train.steps=9"}},
        "started": {"words": "variant=latte1", "starts_from": "image"},
        "again": {"words": "variant=latte1", "first_seed": 100},
        "counted": "variant=latte1 variant.size=XL",
    },
    "scales": {
        "none": {"about": "counts alone"},
        "large": {"about": "large", "datasets": ["shapes"], "words": "preset=demo", "seeds": 2},
        "small": {"about": "small", "datasets": ["shapes"], "seeds": 3, "leave_out": ["again"]},
    },
    "claims": [
        {"id": "a", "statement": "A.", "source": ["paper"], "arms": ["started", "base"], "relation": "better"},
        {"id": "b", "statement": "B.", "arms": ["base", "again"], "relation": "equivalent", "control": "negative"},
        {
            "id": "c",
            "statement": "C.",
            "arms": ["counted"],
            "relation": "equals",
            "measures": ["params"],
            "values": {"counted": 673.99},
        },
    ],
}

SHAPES = {"id": "d", "statement": "D.", "arms": ["base"], "relation": "shapes"}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The content with one value at a dotted path changed or added; numbers are places in a list."""
    content = copy.deepcopy(CONTENT)
    target: Any = content
    *parents, last = path.split(".")
    for name in parents:
        target = target[int(name)] if isinstance(target, list) else target[name]
    target[int(last) if isinstance(target, list) else last] = value
    return content


def test_trained_arms_come_after_those_that_they_start_from() -> None:
    claims = parse_claims(CONTENT)
    assert claims.trained_arms("large") == ("base", "image", "started", "again")
    assert claims.trained_arms("none") == ()
    assert claims.trained_arms("small") == ("base",)  # `started` needs `image`, which is no arm there
    assert claims.seeds_of("again", "large") == (100, 101)
    assert claims.arms["image"].words_at("large") == "variant=dit train.steps=9"


def test_the_hash_is_of_what_the_file_says(tmp_path: Path) -> None:
    def sha256(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return load_claims(str(path)).sha256

    text = (paths.config_files("claims")["latte"]).read_text()
    again = "# another comment\n" + text.replace("  demo:\n", "  demo:   \n")
    assert sha256(text) == sha256(again) == load_claims("latte").sha256
    assert sha256(text.replace("margin: 0.01", "margin: 0.02", 1)) != sha256(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("tilte", "x"), "unknown key 'tilte': did you mean 'title'"),
        (changed("claims.0.measurse", []), r"unknown key 'claims.a.measurse': did you mean 'claims.a.measures'"),
        (changed("arms.again.seed", 1), "unknown key 'arms.again.seed'"),
        (changed("scales.large.sedes", 1), "unknown key 'scales.large.sedes': did you mean 'scales.large.seeds'"),
        (
            changed("scales.large.other_rates", {"factor": 2}),
            r"unknown key '.*other_rates.factor': did you mean '.*fact",
        ),
        (changed("claims.0.relation", "beter"), "claims.a.relation: expected 'better'"),
        (
            changed("claims.0.measures", ["validation_los"]),
            "unknown measure in claims.a .* did you mean 'validation_loss'",
        ),
        (changed("claims.0.budgets", ["flops"]), "claims.a.budgets.0: expected 'steps', "),
        (changed("claims.0.arms", ["started", "bas"]), "unknown arm in claims.a 'bas': did you mean 'base'"),
        (changed("claims.0.arms", ["base"]), "claims.a.arms: better needs 2 different arms or more"),
        (changed("claims.0.arms", ["base", "base"]), "claims.a.arms: better needs 2 different arms or more"),
        (changed("claims.0.source", ["papers"]), "source in claims.a 'papers': did you mean 'paper'"),
        (changed("claims.0.at", [0.5, 0.25]), "claims.a.at: expected rising shares"),
        (changed("claims.0.at", [0]), "claims.a.at: expected rising shares"),
        (changed("claims.0.relation", "overtaken"), "claims.a.at: overtaken needs an early and a late point"),
        (changed("claims.0.margin", 0), "claims.a.margin: expected more than 0"),
        (changed("claims.0.margin", "5 %"), "claims.a.margin: expected a valid number, got 5 %"),
        (changed("claims.0.values", {"base": 1}), "claims.a.values: equals needs a value for each of its arms"),
        (changed("claims.2.values", {}), "claims.c.values: equals needs a value for each of its arms"),
        (changed("claims.0.shapes", {"a": "1->2 3x4"}), "claims.a.shapes: shapes needs one arm and the shapes of its"),
        (changed("claims.2", {**SHAPES, "shapes": {}}), "claims.d.shapes: shapes needs one arm and the shapes of its"),
        (changed("claims.2", {**SHAPES, "shapes": {"a": "1-2"}}), "claims.d.shapes.a: 1-2: expected C->C' HxW, e.g."),
        (changed("claims.2.measures", ["fvd"]), "claims.c.measures: equals is for counts"),
        (changed("claims.1.id", "a"), "claims.a: the id stands 2 times"),
        (changed("arms.image.starts_from", "started"), "starts from itself"),
        (changed("arms.image.at", {"lrage": ""}), "scale in arms.image 'lrage': did you mean 'large'"),
        (changed("arms.base", "latte1"), "arms.base: latte1: expected key=value"),
        (changed("scales.large.words", "variant=latte1"), "scales.large.words: variant= belongs to arms"),
        (changed("scales.none.seeds", 3), "scales.none: expected seeds and datasets"),
        (changed("scales.large.leave_out", ["agian"]), "arm in scales.large 'agian': did you mean 'again'"),
        ({"title": "x", "arms": {}, "scales": {}}, "claims: missing"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest_right(content: dict[str, Any], message: str) -> None:
    with pytest.raises(StbenchError, match=message) as caught:
        parse_claims(content)
    assert "\n" not in str(caught.value)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: x\n")
    with pytest.raises(StbenchError, match=r"mine\.yaml: arms: missing"):
        load_claims(str(tmp_path / "mine.yaml"))
    with pytest.raises(StbenchError, match="unknown claims 'late': did you mean 'latte'"):
        load_claims("late")


@pytest.fixture(scope="module")
def latte() -> Claims:
    return load_claims("latte")


def test_every_finding_is_there(latte: Claims) -> None:
    numbers = {claim.id.partition("-")[0] for claim in latte.claims}
    assert numbers >= {*(f"L{index}" for index in range(1, 17)), "M1", "U1"}
    assert {claim.control for claim in latte.claims} == {None, "positive", "negative"}
    assert set(latte.scales) >= {"smoke", "demo", "small", "paper"}


def test_nothing_waits_for_what_is_there(latte: Claims) -> None:
    variants = paths.config_files("variants")
    waiting = [claim.not_yet for claim in latte.claims if claim.not_yet]
    assert not [reason for reason in waiting if reason.rpartition(" ")[2] in variants]
