"""`stbench profile`: what variants cost by themselves, without training them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from stbench.backbones.base import RUN_FACTS
from stbench.diffusion.loss import find_objective
from stbench.errors import FinishedInPart, StbenchError
from stbench.profiling.batch_size import find_batch_size, host_memory_mib, peak_of_training_step
from stbench.profiling.counts import count
from stbench.profiling.energy import clocks
from stbench.profiling.profile import failure, profile_together
from stbench.profiling.roofline import Ceilings, forward_traffic_gb, measure_ceilings, utilisation
from stbench.profiling.scaling import FORMULA, WIDTH_ARGUMENTS, Scale, fit_exponent, parse_scale
from stbench.profiling.workbench import Conditions, Subject
from stbench.profiling.workload import Workload
from stbench.records.costs import variants_of
from stbench.records.sections import Cost
from stbench.runtime.device import choose_runtime
from stbench.runtime.machine import describe_machine, software_versions
from stbench.runtime.timing import keeping_failure
from stbench.settings.components import Component, load_component, signature_parameters
from stbench.settings.options import ProfileOptions
from stbench.settings.resolve import parse_overrides, resolve_settings, take_arguments
from stbench.settings.schema import Settings


@dataclass(frozen=True)
class Case:
    """One variant with the facts of a run that it is built for."""

    component: Component
    facts: Mapping[str, Any]

    @property
    def latents(self) -> tuple[int, int, int, int]:
        """(C, F, H, W) of one clip."""
        size = self.facts["sample_size"]
        return self.facts["in_channels"], self.facts["num_frames"], size, size

    @property
    def subject(self) -> Subject:
        """What is measured."""
        text_dim = self.component.arguments.get("text_dim")
        workload = Workload(self.latents, self.facts["num_classes"], (text_dim,) if text_dim else None)
        return Subject(lambda: self.component.construct(self.facts), workload)

    def scaled(self, axis: str, size: int) -> Case:
        """The same variant at another size; a batch does not change it."""
        if axis == "width":
            return replace(self, component=self.component.with_arguments({_width_argument(self.component): size}))
        key = {"frames": "num_frames", "resolution": "sample_size"}.get(axis)
        return replace(self, facts={**self.facts, key: size}) if key else self


@dataclass(frozen=True)
class Measuring:
    """What variants are measured under, and what their device can do."""

    conditions: Conditions
    ceilings: Ceilings

    def to_json(self) -> dict[str, Any]:
        """The part of a profile that its variants share."""
        runtime = self.conditions.runtime
        return {
            "precision": runtime.precision,
            "attention": runtime.attention,
            "device": str(runtime.device),
            "compile": self.conditions.compile_mode,
            "freed_memory": runtime.freed_memory,
            "ceilings": self.ceilings.to_json(),
            "clocks": clocks(runtime.device),
        }


def profile_variants(words: Iterable[str], options: ProfileOptions) -> dict[str, Any]:
    """Count, and unless `counts_only` measure, one variant or several in turn.

    Args:
        words: variant=NAME or variant=NAME,NAME,...; preset; variant.KEY=VALUE; and precision, attention, compile,
            device, diffusion.objective.
        options: what to do.

    Returns:
        For one variant the sections `variant`, `input`, `counts`, `timing`, `memory`, ..., `machine`, `software`; for
        several the same with those of each in `variants`, where a variant that failed has a `status` and a `reason`.

    Raises:
        StbenchError: for wrong words, and for what goes wrong with a variant that is profiled alone.
    """
    cases, settings = _resolve(words, options)
    failures: dict[str, Exception] = {}
    measuring = None if options.counts_only else _measuring(settings, options.batch_size)
    profiles = _count_each(cases, failures) if measuring is None else _profile_each(cases, measuring, failures)
    rows: dict[str, dict[str, Any]] = {}
    for name, profile in profiles.items():
        with keeping_failure(name, failures):
            rows[name] = _sections(cases[name], profile, options, measuring)
    about = {
        **(measuring.to_json() if measuring else {}),
        "machine": asdict(describe_machine()),
        "software": asdict(software_versions()),
    }
    if len(cases) == 1:
        _raise_failure(failures)
        return {**next(iter(rows.values())), **about}
    for name, error in failures.items():
        rows[name] = {**_about(cases[name]), **failure(error)}
    return {"variants": [rows[name] for name in cases], **about}


def check_complete(costs: dict[str, Any]) -> None:
    """Raise what makes the command's exit status 3 when a variant of several failed.

    Raises:
        FinishedInPart: naming each with its reason.
    """
    failed = [row for row in variants_of(costs) if row["status"] != "finished"]
    if failed:
        reasons = "; ".join(f"{row['variant']['name']} ({row['status']}): {row['reason']}" for row in failed)
        raise FinishedInPart(f"{len(failed)} of {len(variants_of(costs))} variants could not be profiled: {reasons}")


def _resolve(words: Iterable[str], options: ProfileOptions) -> tuple[dict[str, Case], Settings]:
    """The variants by name, and the settings that they share."""
    given = parse_overrides(words)
    names = given.pop("variant", None)
    if names is None:
        raise StbenchError("variant=NAME is missing; `stbench list variants` shows what there is")
    own = take_arguments(given, "variant")
    preset = given.pop("preset", None)
    settings = resolve_settings(given)
    if options.counts_only and options.find_batch_size:
        raise StbenchError("--find-batch-size runs training steps, which --counts-only forbids: leave one of them out")
    if options.scale:
        parse_scale(options.scale)  # refused before anything slow
    in_channels, num_frames, sample_size = _parse_latents(options.latents)
    learned_variance = find_objective(settings.diffusion.objective).learned_variance
    facts = {
        "in_channels": in_channels,
        "num_frames": num_frames,
        "sample_size": sample_size,
        "num_classes": 0,
        "learned_variance": learned_variance,
    }
    cases: dict[str, Case] = {}
    for name in map(str, names if isinstance(names, list) else str(names).split(",")):
        if name in cases:
            raise StbenchError(f"variant {name} is given twice")
        component = load_component("variant", name)
        if preset is not None:
            component, _ = component.with_preset(preset)
        component = component.with_arguments(own)
        stated = {key: component.arguments[key] for key in RUN_FACTS if key in component.arguments}
        cases[name] = Case(component, {**facts, **stated})
    return cases, settings


def _measuring(settings: Settings, batch_size: int) -> Measuring:
    runtime = choose_runtime(settings.device, settings.precision, settings.attention)
    conditions = Conditions(runtime, settings.diffusion.objective, batch_size, settings.compile)
    return Measuring(conditions, measure_ceilings(runtime))


def _count_each(cases: Mapping[str, Case], failures: dict[str, Exception]) -> dict[str, Cost]:
    profiles = {}
    for name, case in cases.items():
        with keeping_failure(name, failures):
            profiles[name] = Cost(counts=count(case.subject.construct, case.subject.workload))
    return profiles


def _profile_each(cases: Mapping[str, Case], measuring: Measuring, failures: dict[str, Exception]) -> dict[str, Cost]:
    subjects = {name: case.subject for name, case in cases.items()}
    return profile_together(subjects, measuring.conditions, failures)


def _sections(case: Case, profile: Cost, options: ProfileOptions, measuring: Measuring | None) -> dict[str, Any]:
    """Everything about one variant that was profiled."""
    sections = {**_about(case), "status": "finished", "reason": None, **_of_cost(profile)}
    if measuring:
        sections["utilisation"] = _utilisation(case, profile, measuring)
        if options.find_batch_size:
            sections["batch_size_search"] = _search_batch_size(case, measuring.conditions, options.max_batch_size)
    if options.scale:
        conditions = measuring.conditions if measuring else None
        sections["scaling"] = _go_through(case, parse_scale(options.scale), conditions, options.batch_size)
    return sections


def _utilisation(case: Case, profile: Cost, measuring: Measuring) -> dict[str, Any]:
    """MFU of every step, and the forward pass's place on the roofline."""
    steps = utilisation(profile.counts, profile.timing, measuring.ceilings)
    conditions, forward = measuring.conditions, steps["forward"]
    traffic_gb = forward_traffic_gb(case.subject, conditions.batch_size, conditions.runtime.precision)
    place = {"traffic_gb_estimate": traffic_gb, "flop_per_byte_estimate": forward["model_gflops"] / traffic_gb}
    return {**steps, "forward": {**forward, **place}}


def _search_batch_size(case: Case, conditions: Conditions, limit: int) -> dict[str, Any]:
    on_cpu = conditions.runtime.device.type == "cpu"
    search = find_batch_size(
        lambda batch_size: peak_of_training_step(case.subject, replace(conditions, batch_size=batch_size)),
        limit,
        host_memory_mib() if on_cpu else None,
    )
    return search.to_json()


def _go_through(case: Case, scale: Scale, conditions: Conditions | None, batch_size: int) -> dict[str, Any]:
    """Costs of one variant at every size, and the exponents that they grow with. Operations are those of the batch."""
    points = [_point(case, scale.axis, size, conditions, batch_size) for size in scale.values]
    figures = dict.fromkeys(key for point in points for key in point if key not in (scale.axis, "status", "reason"))
    exponents: dict[str, float | None] = {}
    for figure in figures:
        known = [(point[scale.axis], point[figure]) for point in points if point.get(figure)]
        exponents[figure] = fit_exponent(*zip(*known, strict=True)) if known else None
    return {"axis": scale.axis, "points": points, "exponents": exponents, "formula": FORMULA}


def _point(case: Case, axis: str, size: int, conditions: Conditions | None, batch_size: int) -> dict[str, Any]:
    """The costs at one size; a size that cannot be built or held in memory says why."""
    failures: dict[str, Exception] = {}
    batch_size = size if axis == "batch" else batch_size
    profile = None
    with keeping_failure("", failures):
        subject = case.scaled(axis, size).subject
        if conditions is None:
            profile = Cost(counts=count(subject.construct, subject.workload, with_fvcore=False))
        else:
            profile = profile_together({"": subject}, replace(conditions, batch_size=batch_size), failures).get("")
    point: dict[str, Any] = {axis: size, **dict.fromkeys(("params_total", "gmacs", "gmacs_train_step"))}
    if profile is None:
        return {**point, **failure(failures[""])}
    step_gmacs = profile.counts.gmacs_train_step
    point["params_total"] = profile.counts.params_total
    point["gmacs"] = profile.counts.gmacs * batch_size
    point["gmacs_train_step"] = None if step_gmacs is None else step_gmacs * batch_size
    point |= {f"{name}_s": timing.median for name, timing in profile.timing.items()}
    memory = asdict(profile.memory) if profile.memory else {}
    point |= {name: value for name, value in memory.items() if isinstance(value, float)}
    return {**point, "status": "finished", "reason": None}


def _of_cost(cost: Cost) -> dict[str, Any]:
    """The sections of a cost; those that were not measured are empty."""
    return {name: {} if section is None else section for name, section in asdict(cost).items()}


def _about(case: Case) -> dict[str, Any]:
    return {"variant": case.component.to_dict(), "input": {"latents": list(case.latents), **case.facts}}


def _width_argument(component: Component) -> str:
    known = signature_parameters(component)
    for name in WIDTH_ARGUMENTS:
        if name in known:
            return name
    expected = ", ".join(WIDTH_ARGUMENTS)
    raise StbenchError(f"variant {component.name!r} has no width to scale: {component.target} takes none of {expected}")


def _parse_latents(text: str) -> tuple[int, int, int]:
    """C, F and H = W of "CxFxHxW"."""
    words = text.lower().split("x")
    if len(words) != 4 or not all(word.isdecimal() and int(word) > 0 for word in words) or words[2] != words[3]:
        raise StbenchError(f"--latents {text}: expected CxFxHxW with H = W, e.g. 4x16x32x32")
    return int(words[0]), int(words[1]), int(words[2])


def _raise_failure(failures: Mapping[str, Exception]) -> None:
    """Raise what went wrong with the only variant."""
    for name, error in failures.items():
        if isinstance(error, StbenchError) or failure(error)["status"] != "oom":
            raise error
        raise FinishedInPart(f"{name}: out of memory: {failure(error)['reason']}") from error
