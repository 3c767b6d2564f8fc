"""What the runs of a report found, in a few sentences that say how sure they are, and what forbids to believe them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from stbench.records.decisions import MARGIN, decide
from stbench.records.measures import MEASURES, VALIDATION_LOSS, Measure
from stbench.records.noise_card import NoiseCard, sigma_for
from stbench.records.schema import value_at
from stbench.reports.groups import Estimate, Group, conditions_apart
from stbench.reports.runs import ReportedRuns
from stbench.reports.tables import STEPS
from stbench.reports.text import format_number
from stbench.reports.trade_offs import heading

RANKINGS = (VALIDATION_LOSS, "fvd", "kvd")  # better where lower
# Share of the initial weights in the averaged ones above which these are not yet those of the trained network.
INITIAL_SHARE = 0.02
MOST_NAMED = 6  # configurations in one sentence


def findings(reported: ReportedRuns) -> list[str]:
    """Return the main results as sentences: the best quality first, then costs, then what went wrong."""
    groups = reported.groups
    sentences = [sentence for measure in _ranked_by(groups) for sentence in _rankings(reported, measure)]
    counted = sorted((gmacs, group.label) for group in groups if (gmacs := group.figure("counts.gmacs")) is not None)
    if len(counted) > 1:
        (least, low), (most, high) = counted[0], counted[-1]
        if least == most:
            sentences.append(f"Every configuration costs the same computation: {format_number(least)} GMACs per clip.")
        else:
            span = f"{format_number(least)} GMACs per clip ({low}) to {format_number(most)} ({high})"
            sentences.append(f"One forward pass takes from {span}.")
    if unfinished := len(reported.unfinished) + sum(not run.record.finished for run in reported.stored):
        begun = len(reported.stored) + len(reported.unfinished)
        sentences.append(f"{unfinished} of {begun} runs did not finish; their reasons are below.")
    if unreadable := len(reported.found.unreadable):
        sentences.append(f"{unreadable} {'record' if unreadable == 1 else 'records'} cannot be read; why is below.")
    return sentences or ["These runs recorded no result yet."]


def warnings(reported: ReportedRuns) -> list[str]:
    """Return what would mislead who only looks at the figures, as sentences."""
    groups = reported.groups
    return [
        *_unequal_training(groups),
        *_no_better_than_untrained(groups),
        *_initial_weights(groups),
        *_unlike_i3d(groups),
        *_unequal_times(groups),
    ]


def _ranked_by(groups: Sequence[Group]) -> list[Measure]:
    """The validation loss, and FVD, or KVD where FVD was refused for every run."""
    any_has = {name for name in RANKINGS if any(group.estimate(MEASURES[name].path) for group in groups)}
    return [MEASURES[name] for name in RANKINGS if name in any_has and not (name == "kvd" and "fvd" in any_has)]


def _rankings(reported: ReportedRuns, measure: Measure) -> Iterator[str]:
    """Say for each protocol and each amount of training who is best, and whether the next is beyond noise."""
    rivals: dict[tuple[Hashable, str], list[Group]] = {}
    for group in reported.groups:
        if group.estimate(measure.path):
            rivals.setdefault((group.condition(measure), training_budget(group)), []).append(group)
    several_protocols = len({protocol for protocol, _ in rivals}) > 1
    several_budgets = len({budget for _, budget in rivals}) > 1
    for (protocol, budget), among in rivals.items():
        context = [f"after {budget}"] * several_budgets + [f"under protocol {str(protocol)[:8]}"] * several_protocols
        yield from _ranking(among, measure, " ".join(["", *context]), reported.cards)


def _ranking(rivals: Sequence[Group], measure: Measure, context: str, cards: Sequence[NoiseCard]) -> Iterator[str]:
    scores = [(score, group) for group in rivals if (score := group.estimate(measure.path))]
    (first, best), *others = sorted(scores, key=lambda pair: pair[0].mean)
    where = f"{best.label} on {value_at(best.config, 'dataset.name')}"
    yield f"Lowest {heading(measure, [best])}{context}: {where}, {format_number(first.mean)} ({_certainty(first)})."
    if not others:
        return
    second, runner_up = others[0]
    records = [*best.records, *runner_up.records]
    found = decide(
        runner_up.by_seed(measure.of),
        best.by_seed(measure.of),
        measure=measure,
        sigma=sigma_for(measure, records, cards),
    )
    verdict = f"the order is {found.verdict}: {found.reason}"
    if found.verdict in ("better", "worse"):
        verdict = f"the difference is beyond the noise of training seeds (p = {found.p:.2g})"
    elif found.verdict == "equivalent":
        verdict = f"they are equivalent within {100 * MARGIN:.0f} %"
    yield f"Next is {runner_up.label} at {format_number(second.mean)}; {verdict}."


def _certainty(score: Estimate) -> str:
    if score.interval is None:
        return "one seed, so no interval"
    low, high = map(format_number, score.interval)
    if score.interval_of == "seeds":
        return f"95 % interval {low} to {high} over {len(score.values)} seeds"
    return f"one seed; its clips leave open {low} to {high}"


def training_budget(group: Group) -> str:
    """How long, on how much and from what a configuration was trained; only equal ones are ranked together."""
    steps, clips = (value_at(group.config, f"train.{name}") for name in ("steps", "batch_size"))
    images = value_at(group.config, "train.joint_images")
    words = [f"{steps} steps of {clips} clips"]
    words += [f"and {images} images each"] if images else []
    words += ["from given weights"] if value_at(group.config, "train.init") else []
    return " ".join(words)


def _unequal_training(groups: Sequence[Group]) -> Iterator[str]:
    for protocol in dict.fromkeys(group.protocol_hash for group in groups if group.protocol_hash):
        trained: dict[str, list[str]] = {}
        for group in groups:
            if group.protocol_hash == protocol:
                trained.setdefault(training_budget(group), []).append(group.label)
        if len(trained) > 1:
            said = [f"{_named(labels)}: {budget}" for budget, labels in trained.items()]
            yield f"Not an equal comparison, the training differs: {_named(said, '; ')}."


def _no_better_than_untrained(groups: Sequence[Group]) -> Iterator[str]:
    worthless = []
    for group in groups:
        score, untrained = group.score("fvd"), group.score("fvd_untrained")
        if score and untrained and untrained.mean <= (score.interval[1] if score.interval else score.mean):
            figures = f"{format_number(score.mean)} against {format_number(untrained.mean)}"
            worthless.append(f"{group.label} (FVD[{group.detector}] {figures})")
    if worthless:
        yield f"No better than their untrained networks, so that their rank says nothing: {_named(worthless, '; ')}."


def _initial_weights(groups: Sequence[Group]) -> Iterator[str]:
    shares: dict[str, list[str]] = {}
    for group in groups:
        decay, steps = value_at(group.config, "train.ema_decay"), value_at(group.config, "train.steps")
        if group.detector and decay is not None and steps is not None and decay**steps > INITIAL_SHARE:
            held = (
                f"{100 * decay**steps:.0f} % of them from before the training (train.ema_decay={decay}, {steps} steps)"
            )
            shares.setdefault(held, []).append(group.label)
    if shares:
        said = "; ".join(f"{held}: {_named(labels)}" for held, labels in shares.items())
        yield f"Judged by averaged weights that training has hardly reached, {said}."


def _unlike_i3d(groups: Sequence[Group]) -> Iterator[str]:
    judged = [group for group in groups if "internal" in group.values("quality.label")]
    for detector in dict.fromkeys(group.detector for group in judged):
        yield f"FVD[{detector}] is not measured by I3D: its scale is another than that of published figures."


def _unequal_times(groups: Sequence[Group]) -> Iterator[str]:
    """Say which times are no figures of the network's, and which cannot be held against each other."""
    timed = [group for group in groups if any(group.time(step) for step in STEPS)]
    busy = [group for group in timed if any((time := group.time(step)) and time.under_load for step in STEPS)]
    if busy:
        labels = _named([group.label for group in busy])
        yield f"Times of {labels} were taken while other work kept the machine busy: they are not compared."
    if len(conditions := conditions_apart(timed)) > 1:
        told = _named(list(conditions.values()), "; ")
        yield f"Times were taken under unequal conditions and are not compared: {told}."


def _named(labels: Sequence[str], between: str = ", ") -> str:
    """Labels in one sentence; many are counted."""
    shown = list(dict.fromkeys(labels))
    left = len(shown) - MOST_NAMED
    return between.join([*shown[:MOST_NAMED], *([f"{left} more"] if left > 0 else [])])
