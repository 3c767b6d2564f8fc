"""Equal budgets: `budget=steps | gflops | seconds | params` makes the arms of a sweep spend what its first arm does.

Equal steps are what the words say anyway, so an arm of other steps is refused. For equal operations or time each arm
gets its number of training steps, for equal parameters its width or depth. `records/budgets.py` says of finished runs
what they spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stbench.errors import StbenchError, unknown_name
from stbench.launch.arms import Arm, listed_values
from stbench.launch.aside import call_aside
from stbench.launch.tuning import parse_seeds, parse_tries
from stbench.progress import say
from stbench.records.budgets import BUDGETS, WITHIN, Budget
from stbench.storage.files import read_json, write_json

STEP_TIMES = "step-times.json"  # in the folder of runs: measured once, as another measurement would mean other runs


@dataclass(frozen=True)
class Planning:
    """What the words of a sweep say of all of it.

    Attributes:
        budgets: that its arms are to spend equally, with verdicts for each; None is as the words have them.
        tries: learning rates that every arm is tried at before; None for none.
        tried_seeds: how many seeds of each arm are tried at them.
    """

    budgets: tuple[Budget | None, ...] = (None,)
    tries: int | None = None
    tried_seeds: int = 1


def take_planning(words: Sequence[str]) -> tuple[Planning, list[str]]:
    """Take `budget=`, `tune.lr=` and `tune.seeds=` out of the words of a sweep.

    Returns:
        What they say, and the other words.

    Raises:
        StbenchError: an unknown budget, a number of rates that is no grid, or seeds of no tries.
    """
    planning, others = Planning(), []
    for word in words:
        key, _, text = word.partition("=")
        if key == "budget":
            planning = replace(planning, budgets=tuple(map(_known, listed_values(text))))
        elif key == "tune.lr":
            planning = replace(planning, tries=parse_tries(text))
        elif key == "tune.seeds":
            planning = replace(planning, tried_seeds=parse_seeds(text))
        else:
            others.append(word)
    if planning.tries is None and planning.tried_seeds != Planning.tried_seeds:
        raise StbenchError("tune.seeds= says how many seeds tune.lr= tries, which was not given")
    return planning, others


def with_equal_budget(arms: Sequence[Arm], budget: Budget | None, out: Path, keep: bool = True) -> list[Arm]:
    """The same arms, each trained as long, or as large, as makes it spend what the first one does.

    Args:
        arms: of a sweep.
        budget: None leaves them as they are.
        out: the folder of runs.
        keep: whether times of steps that are measured now are kept there for later sweeps.

    Raises:
        StbenchError: an arm that cannot spend as much within 1 %.
    """
    if budget is None:
        return list(arms)
    if budget == "params":
        return call_aside(with_equal_parameters, list(arms))
    steps = call_aside(steps_of, list(arms))
    if budget == "gflops":
        return with_equal_spending(arms, steps, call_aside(gflops_of_steps, list(arms)), budget)
    if budget == "seconds":
        return with_equal_spending(arms, steps, _seconds_of_steps(arms, out, keep), budget)
    return with_equal_spending(arms, steps, [1.0] * len(arms), budget)


def with_equal_spending(arms: Sequence[Arm], steps: Sequence[int], of_step: Sequence[float], budget: str) -> list[Arm]:
    """The arms with as many training steps as spend what those of the first do.

    Args:
        arms: of which the first is the measure of the others.
        steps: of each as it stands.
        of_step: what a step of each spends.
        budget: its name.

    Raises:
        StbenchError: no whole number of steps spends as much within 1 %, or equal steps are asked for and are not.
    """
    amount, found = steps[0] * of_step[0], []
    for arm, own, one in zip(arms, steps, of_step, strict=True):
        wanted = round(amount / one)
        if budget == "steps" and own != wanted:
            raise StbenchError(f"budget=steps: {arm.label} has train.steps={own}, {arms[0].label} {steps[0]}")
        if abs(wanted * one - amount) > WITHIN * amount:
            raise StbenchError(
                f"budget={budget}: {wanted} steps of {arm.label} spend {wanted * one / amount:.1%} of what "
                f"{steps[0]} of {arms[0].label} do: expected 1 % at most beside it: raise train.steps"
            )
        if wanted != own:
            say(f"budget={budget}: {arm.label} is trained for {wanted} steps")
        found.append(replace(arm.with_words(f"train.steps={wanted}"), label=arm.label))
    return found


def steps_of(arms: Sequence[Arm]) -> list[int]:
    """The training steps of each arm as its words say."""
    from stbench.settings.resolve import resolve

    return [resolve(arm.words).settings.train.steps for arm in arms]


def gflops_of_steps(arms: Sequence[Arm]) -> list[float]:
    """The operations that a training step of each arm executes, 10^9.

    Raises:
        StbenchError: they cannot be counted, or as of `prepare`.
    """
    from stbench.profiling.counts import count
    from stbench.run.setup import Parts, prepare
    from stbench.settings.resolve import resolve

    parts, found = Parts(), []
    for arm in arms:
        setup = prepare(resolve(arm.words), parts)
        gmacs = count(setup.construct_backbone, setup.workload, with_fvcore=False).gmacs_train_step
        if gmacs is None:
            raise StbenchError(f"budget=gflops: the operations of a training step of {arm.label} cannot be counted")
        found.append(2 * gmacs * setup.config.settings.train.batch_size)
    return found


def _seconds_of_steps(arms: Sequence[Arm], out: Path, keep: bool) -> list[float]:
    """What a step of each takes on this machine, kept in `out`.

    An arm that comes later is timed beside the first one, in turn, and has its place by their ratio: so those that were
    there keep their steps, and their runs.
    """
    path, machine = out / STEP_TIMES, call_aside(this_machine)
    kept = read_json(path) if path.exists() else {}
    known = kept.get(machine, {})
    missing = [arm for arm in arms if _key(arm) not in known]
    if missing:
        first, *others = call_aside(measured_seconds, [arms[0], *(arm for arm in missing if arm != arms[0])])
        known.setdefault(_key(arms[0]), first)
        later = zip((arm for arm in missing if arm != arms[0]), others, strict=True)
        known |= {_key(arm): known[_key(arms[0])] * seconds / first for arm, seconds in later}
        if keep:
            write_json(path, {**kept, machine: known})
    return [known[_key(arm)] for arm in arms]


def _known(name: str) -> Budget:
    found = next((budget for budget in BUDGETS if budget == name), None)
    if found is None:
        raise unknown_name("budget", name, BUDGETS)
    return found


def _key(arm: Arm) -> str:
    return " ".join(sorted(arm.words))


def this_machine() -> str:
    """The fingerprint of the machine."""
    from stbench.runtime.machine import describe_machine

    return describe_machine().fingerprint


def measured_seconds(arms: Sequence[Arm]) -> list[float]:
    """The median time of a training step of each arm here, those of equal conditions taken in turn.

    Raises:
        StbenchError: one of them could not be timed, or as of `prepare`.
    """
    from stbench.profiling.profile import measure_costs
    from stbench.profiling.workbench import Conditions, Subject
    from stbench.run.setup import Parts, prepare
    from stbench.runtime.failure import value_of
    from stbench.settings.resolve import resolve

    parts, alike = Parts(), dict[tuple[object, ...], list[tuple[Arm, Subject, Conditions]]]()
    for arm in arms:
        setup = prepare(resolve(arm.words), parts)
        runtime, settings = setup.runtime, setup.config.settings
        kind = (runtime.precision, runtime.attention, settings.diffusion.objective, settings.train.batch_size)
        conditions = Conditions(runtime, settings.diffusion.objective, settings.train.batch_size, settings.compile)
        subject = Subject(setup.construct_backbone, setup.workload)
        alike.setdefault((*kind, settings.compile), []).append((arm, subject, conditions))
    seconds: dict[Arm, float] = {}
    for group in alike.values():
        costs = measure_costs([subject for _, subject, _ in group], group[0][2])
        seconds |= {
            arm: value_of(cost).timing["train_step"].median for (arm, _, _), cost in zip(group, costs, strict=True)
        }
    return [seconds[arm] for arm in arms]


def with_equal_parameters(arms: Sequence[Arm]) -> list[Arm]:
    """The arms at widths, or where no width fits at depths, that have as many parameters as the first.

    Raises:
        StbenchError: neither comes within 1 %.
    """
    from stbench.run.preview import variant_of
    from stbench.run.setup import Parts, prepare
    from stbench.settings.resolve import resolve

    parts, found = Parts(), list(arms[:1])
    variants = [variant_of(prepare(resolve(arm.words), parts)) for arm in arms]
    wanted = variants[0].num_parameters
    for arm, variant in list(zip(arms, variants, strict=True))[1:]:
        if abs(variant.num_parameters - wanted) <= WITHIN * wanted:
            found.append(arm)
            continue
        try:
            match = variant.matched(wanted)
        except StbenchError as error:
            raise StbenchError(f"budget=params: {arm.label}: {error}") from error
        word = f"variant.{match.argument}={match.size}"
        say(f"budget=params: {arm.label} gets {word}: {match.num_parameters:,} parameters for {wanted:,}")
        found.append(replace(arm.with_words(word), label=arm.label))
    return found
