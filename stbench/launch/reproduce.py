"""`stbench reproduce`: register a file of claims, run what is missing at a scale, and judge every claim.

What is judged are the records of the runs, so a second call runs nothing twice.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from stbench.errors import CheckFailed, unknown_name
from stbench.launch.claims_plan import print_claims_plan
from stbench.launch.exact import untrained_evidence
from stbench.launch.registration import Registration, register
from stbench.launch.sweep import raise_if_missing
from stbench.launch.trained_arms import TrainedArm, run_arms, trained_arms
from stbench.records.claim_questions import Runs
from stbench.records.claim_verdicts import ArmSummary, ClaimVerdict, Outcome
from stbench.records.claims import Claims, load_claims
from stbench.records.judging import Evidence, judge_trained, judge_untrained
from stbench.records.measures import get_measure
from stbench.records.noise_card import NoiseCard, known_cards, sigma_for
from stbench.records.store import RECORD_NAME, read_record
from stbench.reports.claims.files import write_outcome
from stbench.reports.claims.tables import outcome_markdown
from stbench.settings.options import ReproduceOptions
from stbench.storage.files import check_folder

FOLDER = "claims"  # of the tables, beside the runs


def reproduce(name: str, words: Sequence[str], options: ReproduceOptions, out: Path) -> None:
    """Run what is missing for a file of claims, write what became of each, and print it; or print what would run.

    Args:
        name: of the file, or its path.
        words: key=value of all runs, above the scale's.
        options: the scale, and how to run.
        out: the folder of the runs; the tables go to its folder `claims`.

    Raises:
        StbenchError: for whatever a run would refuse, before anything runs.
        FinishedInPart: some runs are not finished.
        CheckFailed: a control did not come out as it must.
        Interrupted: by a signal; what ran has written its checkpoints.
    """
    claims, scale = load_claims(name), options.scale
    if scale not in claims.scales:
        raise unknown_name(f"scale of {claims.name}", scale, claims.scales)
    arms = trained_arms(claims, scale, words)
    if options.plan:
        print_claims_plan(arms, out, options.jobs)
        return
    check_folder(out / FOLDER)
    registered = register(claims, scale, words, out / FOLDER)
    arms, states = run_arms(arms, out, options.jobs, options.retry)
    outcome = judge(claims, arms, registered, known_cards([out]))
    write_outcome(outcome, out / FOLDER)
    print(outcome_markdown(outcome))
    raise_if_missing(states)
    if failed := [verdict for verdict in outcome.verdicts if verdict.control_failed]:
        named = ", ".join(f"{each.claim.id} is {each.answer}" for each in failed)
        raise CheckFailed(f"this scale cannot tell: {named}")


def judge(
    claims: Claims, arms: Sequence[TrainedArm], registered: Registration, cards: Sequence[NoiseCard] = ()
) -> Outcome:
    """Judge every claim by the records that the arms' cells have, and by the noise cards that hold for them."""
    sigma = functools.partial(sigma_for, cards=cards)
    runs = {arm: _records(arm) for arm in arms}
    scale = registered.scale
    verdicts: list[ClaimVerdict] = judge_untrained(claims, untrained_evidence(claims))
    for dataset in claims.scales[scale].datasets or (None,):
        by_rate: dict[float, dict[str, Runs]] = {}
        for arm in arms:
            if arm.dataset == dataset:
                by_rate.setdefault(arm.rate, {})[arm.name] = runs[arm]
        verdicts += judge_trained(claims, scale, dataset, Evidence(runs=by_rate, sigma=sigma))
    order = [claim.id for claim in claims.claims]
    records = [record for of_arm in runs.values() for record in of_arm.values()]
    return Outcome(
        title=claims.title,
        name=claims.name,
        sha256=claims.sha256,
        sources=claims.sources,
        scale=scale,
        about=claims.scales[scale],
        words=registered.words,
        registered=registered.time,
        older_runs=sum(not registered.precedes(record.created) for record in records),
        machines=tuple(sorted({(each.machine.gpu or each.machine.cpu) for each in records if each.machine})),
        arms=tuple(_summary(claims, arm, runs[arm]) for arm in arms),
        verdicts=tuple(sorted(verdicts, key=lambda verdict: order.index(verdict.claim.id))),
    )


def _records(arm: TrainedArm) -> Runs:
    """The records of an arm's runs by their seeds, as far as there are any."""
    folders = {cell.config.settings.seed: cell.folder for cell in arm.cells}
    return {seed: read_record(folder) for seed, folder in folders.items() if (folder / RECORD_NAME).exists()}


def _summary(claims: Claims, arm: TrainedArm, records: Runs) -> ArmSummary:
    """What an arm was, and its figures in every measure that a claim asks for."""
    asked = [name for claim in claims.claims if claim.needs_training for name in claim.measures]
    figures: dict[str, dict[int, float]] = {}
    curves: dict[str, dict[int, tuple[tuple[int, float], ...]]] = {}
    for measure in map(get_measure, dict.fromkeys(asked)):
        known = {seed: measure.of(record) for seed, record in records.items()}
        figures[measure.name] = {seed: figure for seed, figure in known.items() if figure is not None}
        curves[measure.name] = {seed: curve for seed, record in records.items() if (curve := measure.curve(record))}
    return ArmSummary(
        arm=arm.name,
        dataset=arm.dataset,
        rate=arm.rate,
        words=arm.words,
        starts_from=arm.starts_from,
        learning_rate=arm.learning_rate,
        seeds=arm.seeds,
        steps=max((record.training.steps for record in records.values() if record.training), default=None),
        runs={seed: record.run_id for seed, record in records.items()},
        figures=figures,
        curves=curves,
    )
