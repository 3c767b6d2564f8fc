"""What the study of a metric found, in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stbench.reports.tables import METRIC_NAMES
from stbench.reports.text import format_number


def findings(study: Mapping[str, Any]) -> list[str]:
    """Return the main results: order, sensitivity, content bias, bias by number of clips, and the check of the code."""
    noise, bias, detector = study["noise"], study["bias"], study["detector"]
    sentences = []
    if noise["figure"] != "fvd":
        sides = f"{study['settings']['num']} clips on each side are no more than the {bias['dim']} features"
        sentences.append(f"No FVD: {sides}. KVD, which is unbiased, is judged.")
    sentences += [*_answers(noise, f"{METRIC_NAMES[noise['figure']]}[{detector}]"), *_bias(bias, detector)]
    if check := study["gaussian_check"]:
        rows, bootstrap = check["by_size"], check["bootstrap"]
        measured, sizes = ", ".join(_number(row["fvd"]) for row in rows), ", ".join(str(row["n"]) for row in rows)
        sentences += [
            f"Check of the code: for exact Gaussians in {check['dim']} dimensions FVD is {measured} at N = {sizes}; "
            f"N · FVD is constant from {check['settled_from']} on, {_number(rows[-1]['n_times_fvd'])}; expected is "
            f"(d² + 5d) / 2 = {_number(check['expected_n_times_fvd'])}.",
            f"A bootstrap with replacement of one such pair of {bootstrap['n']} gives {_number(bootstrap['mean'])} ± "
            f"{_number(bootstrap['sd'])} for a distance of {_number(bootstrap['point'])}, where fresh pairs give "
            f"{_number(bootstrap['replicates_mean'])} ± {_number(bootstrap['replicates_sd'])}: no interval for an FVD.",
        ]
    return sentences


def _answers(noise: Mapping[str, Any], metric: str) -> list[str]:
    """What the distance says of the distortions, in three sentences."""
    # Whether it orders the strengths of each distortion rightly: the FVD paper's claim.
    ranks = {each["distortion"]: each[f"spearman_{noise['figure']}"] for each in noise["distortions"]}
    wrong = {name: rank for name, rank in ranks.items() if rank is None or rank < 1 - 1e-9}
    order = f"all {len(ranks)} distortions rightly (Spearman's ρ = 1 for each)"
    if wrong:
        named = ", ".join(f"{plain(name)} (ρ = {_number(rank)})" for name, rank in wrong.items())
        order = f"{len(ranks) - len(wrong)} of {len(ranks)} distortions rightly; not: {named}"
    # From which strength on each distortion is told from none.
    by_strength: dict[float | None, list[str]] = {}
    for each in noise["distortions"]:
        by_strength.setdefault(each["seen_from"], []).append(plain(each["distortion"]))
    lowest = noise["by_strength"][0]["strength"]
    seen = f"every distortion is above that from the lowest strength on ({_number(lowest)})"
    if list(by_strength) != [lowest]:
        known = sorted((strength, names) for strength, names in by_strength.items() if strength is not None)
        parts = [f"from strength {_number(strength)} on {', '.join(names)}" for strength, names in known]
        parts += [f"never {', '.join(by_strength[None])}"] if None in by_strength else []
        seen = f"above that are {'; '.join(parts)}"
    # How much a wrong order of frames weighs beside wrong content.
    full = noise["by_strength"][-1]
    strongest = max(noise["distortions"], key=lambda each: each["response"])
    return [
        f"{metric} orders the strengths of {order}.",
        f"Clean clips give up to {_number(noise['floor_largest'])} at this number; {seen}.",
        f"At full strength the median temporal distortion moves it by {_number(full['temporal'])}, the median static "
        f"one by {_number(full['static'])}: a share of {_number(full['temporal_share'])}. The strongest answer, "
        f"{_number(strongest['response'])}, is to {plain(strongest['distortion'])}.",
    ]


def _bias(bias: Mapping[str, Any], detector: str) -> list[str]:
    last = bias["by_size"][-1]
    sizes = {row["n"]: row for row in bias["by_size"] if row["n"] > bias["dim"]}
    shown = ", ".join(f"{_number(row['fvd'])} at {n}" for n, row in sizes.items())
    sentences = [
        f"Where the truth is 0, N · FVD[{detector}] is {_number(last['n_times_fvd'])} (expected of Gaussian features: "
        f"{_number(bias['expected_n_times_fvd'])}) and constant from N = {bias['settled_from']} on"
        + (f": FVD is {shown} clips." if shown else ".")
    ]
    if last["fvd_inf"] is not None:
        spread = {name: with_sd(last[name], last[f"{name}_sd"]) for name in ("fvd_inf", "fvd_inf_real_fixed", "kvd")}
        sentences.append(
            f"With {last['n']} clips FVD∞ is {spread['fvd_inf']}, with the real side kept whole "
            f"{spread['fvd_inf_real_fixed']}; KVD is {spread['kvd']} (mean and sd of pairs)."
        )
    return sentences


def curves(noise: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each distortion by rising strength; the first is the floor, which they share."""
    floor, *rows = noise["rows"]
    names = [each["distortion"] for each in noise["distortions"]]
    return {name: [floor, *(row for row in rows if row["distortion"] == name)] for name in names}


def with_sd(value: float, sd: float | None) -> str:
    """A mean and its standard deviation, both to the second digit of the latter; the mean alone where there is none."""
    if not sd:
        return format_number(value)
    decimals = max(0, 1 - math.floor(math.log10(sd)))
    return f"{value:.{decimals}f} ± {sd:.{decimals}f}"


def plain(distortion: str) -> str:
    """The name of a distortion as people write it."""
    return distortion.replace("_", " ")


def _number(value: float | None) -> str:
    """Three significant digits, without exponents for large numbers."""
    if value is None:
        return "none"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
