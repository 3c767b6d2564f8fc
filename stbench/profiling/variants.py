"""`stbench profile`: what variants cost by themselves, without training them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from stbench.backbones.base import RUN_FACTS
from stbench.backbones.freezing import freeze
from stbench.diffusion.loss import find_objective
from stbench.errors import FinishedInPart, StbenchError
from stbench.profiling.batch_size import search_batch_size
from stbench.profiling.counts import count
from stbench.profiling.energy import clocks
from stbench.profiling.flops import count_parameters
from stbench.profiling.matching import match_parameters
from stbench.profiling.profile import measure_costs
from stbench.profiling.roofline import measure_ceilings, utilisation
from stbench.profiling.scaling import DEPTH_ARGUMENT, FORMULA, WIDTH_ARGUMENTS, Scale, fit_exponent, parse_scale
from stbench.profiling.shapes import block_shapes
from stbench.profiling.workbench import Conditions, Subject
from stbench.profiling.workload import Workload
from stbench.progress import console
from stbench.records.costs import Ceilings, Profile, Scaling, VariantCost
from stbench.records.sections import Cost
from stbench.runtime.device import choose_runtime
from stbench.runtime.failure import Failure, attempt, value_of
from stbench.runtime.machine import describe_machine, software_versions
from stbench.settings.components import (
    DEFAULT_LATENTS,
    Component,
    latent_facts,
    load_component,
    signature_parameters,
)
from stbench.settings.options import ProfileOptions
from stbench.settings.resolve import Words, parse_overrides, resolve_settings, take_arguments
from stbench.settings.schema import Settings
from stbench.tasks.concat import with_concat


@dataclass(frozen=True)
class Variant:
    """One variant with what of a run it is built for and trained in.

    Attributes:
        component: the backbone and its arguments.
        facts: of the run, by the names of `RUN_FACTS`.
        whole_timesteps: as of `Objective`.
        joint_images: images that a training step appends to each clip.
        freeze: as of `train.freeze`.
        preset: that was applied to the component, if any.
        context_shape: of one clip's context; None in a run whose classes stand in for it.
        concat_channels: of what a run gives of a clip, 0 for nothing.
    """

    component: Component
    facts: Mapping[str, Any]
    whole_timesteps: bool
    joint_images: int = 0
    freeze: str | None = None
    preset: str | None = None
    context_shape: tuple[int, ...] | None = None
    concat_channels: int = 0

    def construct(self) -> nn.Module:
        """The network, on torch's current default device."""
        return with_concat(self.component, self.facts, self.concat_channels)

    def with_context(self) -> Variant:
        """The same with the context that the network's published costs refer to; what cannot be built has none."""
        with torch.device("meta"):
            built = attempt(self.component.construct, self.facts)
        shape = None if isinstance(built, Failure) else getattr(built, "context_shape", None)
        return replace(self, context_shape=shape)

    @property
    def subject(self) -> Subject:
        """What is measured."""
        facts, size = self.facts, self.facts["sample_size"]
        height, width = (size, size) if isinstance(size, int) else size
        workload = Workload(
            (facts["in_channels"], facts["num_frames"], height, width),
            facts["num_classes"],
            context_shape=self.context_shape,
            joint_images=self.joint_images,
            whole_timesteps=self.whole_timesteps,
            concat_channels=self.concat_channels,
        )
        return Subject(lambda: freeze(self.construct(), self.freeze), workload)

    @property
    def uncosted(self) -> VariantCost:
        """The variant as a row of which nothing but its own facts is known."""
        facts = {"latents": list(self.subject.workload.latent_shape), **self.facts}
        return VariantCost(variant=self.component.to_dict(), input=facts, status="finished")

    @property
    def num_parameters(self) -> int:
        """All of them, counted on the meta device."""
        with torch.device("meta"):
            return count_parameters(self.construct())[0]

    def matched(self, wanted: int) -> Match:
        """The size at which it has as many parameters as are wanted: a width, or where no width fits a depth.

        Raises:
            StbenchError: neither comes within 1 %.
        """
        try:
            return self._matched(self.width_argument, wanted)
        except StbenchError as by_width:
            if DEPTH_ARGUMENT not in signature_parameters(self.component):
                raise
            try:
                return self._matched(DEPTH_ARGUMENT, wanted)
            except StbenchError as by_depth:
                raise StbenchError(f"{by_width}; {DEPTH_ARGUMENT}: {by_depth}") from by_depth

    def _matched(self, argument: str, wanted: int) -> Match:
        size, number = match_parameters(wanted, lambda size: self._with(argument, size).num_parameters)
        return Match(argument, size, number, self._with(argument, size))

    def _with(self, argument: str, size: int) -> Variant:
        return replace(self, component=self.component.with_arguments({argument: size}))

    @property
    def width_argument(self) -> str:
        """What the constructor calls its width.

        Raises:
            StbenchError: it has none.
        """
        known = signature_parameters(self.component)
        width = next((name for name in WIDTH_ARGUMENTS if name in known), None)
        if width is None:
            raise StbenchError(
                f"variant {self.component.name!r} has no width to scale: {self.component.target} takes none of "
                f"{', '.join(WIDTH_ARGUMENTS)}"
            )
        return width

    def scaled(self, axis: str, size: int) -> Variant:
        """The same variant at another size; a batch does not change it.

        Raises:
            StbenchError: for a width of a variant that has none.
        """
        if axis == "width":
            return self._with(self.width_argument, size)
        key = {"frames": "num_frames", "resolution": "sample_size"}.get(axis)
        return replace(self, facts={**self.facts, key: size}) if key else self


@dataclass(frozen=True)
class Match:
    """A variant made as large as another.

    Attributes:
        argument: of its constructor, what was changed.
        size: the value of that.
        num_parameters: what it has then.
        variant: the variant at that size.
    """

    argument: str
    size: int
    num_parameters: int
    variant: Variant


@dataclass(frozen=True)
class Planned:
    """What is profiled, and under which settings.

    Attributes:
        variants: by the names that they were given.
        settings: precision, attention, compile, device and objective.
        batch_size: clips of a timed step.
    """

    variants: Mapping[str, Variant]
    settings: Settings
    batch_size: int


def profile_variants(words: Words, options: ProfileOptions) -> Profile:
    """Count, and unless `counts_only` measure, one variant or several in turn, by themselves.

    Args:
        words: variant=NAME or variant=NAME,NAME,...; preset; variant.KEY=VALUE; and precision, attention, compile,
            device, diffusion.objective.
        options: what to do.

    Returns:
        As of `measure_planned`.

    Raises:
        StbenchError, FinishedInPart: for wrong words, and as of `measure_planned`.
    """
    return measure_planned(plan_variants(words, options), options)


def measure_planned(planned: Planned, options: ProfileOptions) -> Profile:
    """Count, and unless `counts_only` measure, what is planned.

    Returns:
        The variants in their order; one of several that failed says why.

    Raises:
        StbenchError: for what goes wrong with a variant that is profiled alone.
        FinishedInPart: when memory runs out for a variant that is profiled alone.
    """
    if options.counts_only and options.find_batch_size:
        raise StbenchError("--find-batch-size runs training steps, which --counts-only forbids: leave one of them out")
    sizes = _sizes(options)
    if options.match_params:
        planned = replace(planned, variants=_matched(planned.variants, options.match_params))
    variants, settings, batch_size = planned.variants, planned.settings, planned.batch_size
    subjects = [variant.subject for variant in variants.values()]
    profile = Profile(machine=describe_machine(), software=software_versions())
    conditions = None
    if options.counts_only:
        counts = [attempt(count, subject.construct, subject.workload) for subject in subjects]
        costs = [counted if isinstance(counted, Failure) else Cost(counts=counted) for counted in counts]
    else:
        runtime = choose_runtime(settings.device, settings.precision, settings.attention)
        conditions = Conditions(runtime, settings.diffusion.objective, batch_size, settings.compile)
        ceilings = measure_ceilings(runtime)
        costs = measure_costs(subjects, conditions)
        profile = replace(profile, ceilings=ceilings, clocks=clocks(runtime.device))
    rows = []
    for (name, variant), cost in zip(variants.items(), costs, strict=True):
        asked = (conditions, profile.ceilings, options, sizes, batch_size)
        row = cost if isinstance(cost, Failure) else attempt(_complete, variant, cost, *asked)
        if isinstance(row, Failure):
            if len(variants) == 1 and (isinstance(row.error, StbenchError) or row.status != "oom"):
                raise row.error
            if len(variants) == 1:
                raise FinishedInPart(f"{name}: out of memory: {row.reason}") from row.error
            row = replace(variant.uncosted, status=row.status, reason=row.reason)
        rows.append(row)
    return replace(profile, variants=tuple(rows))


def check_complete(profile: Profile) -> None:
    """Raise what makes the command's exit status 3 when a variant of several failed.

    Raises:
        FinishedInPart: naming each with its reason.
    """
    failed = [each for each in profile.variants if each.status != "finished"]
    if failed:
        reasons = "; ".join(f"{each.variant['name']} ({each.status}): {each.reason}" for each in failed)
        raise FinishedInPart(f"{len(failed)} of {len(profile.variants)} variants could not be profiled: {reasons}")


def plan_variants(words: Words, options: ProfileOptions) -> Planned:
    """The variants that words name, for latents that no dataset makes: those asked for, or else each its published."""
    given = parse_overrides(words)
    names = variant_names(given)
    own = take_arguments(given, "variant")
    preset = given.pop("preset", None)
    settings = resolve_settings(given)
    objective = find_objective(settings.diffusion.objective)
    asked = latent_facts(options.latents) if options.latents else {}
    if not options.counts_only:  # what is timed is trained
        asked["learned_variance"] = objective.learned_variance
    variants: dict[str, Variant] = {}
    for name in names:
        component = load_component("variant", name)
        if preset is not None:
            component, _ = component.with_preset(preset)
        with naming_all(names):
            component = component.with_arguments(own)
        stated = {key: component.arguments[key] for key in RUN_FACTS if key in component.arguments}
        facts = {**published_facts(component, objective.learned_variance), **asked, **stated}
        variant = Variant(component, facts, objective.whole_timesteps, freeze=settings.train.freeze, preset=preset)
        variants[name] = variant.with_context()
    return Planned(variants, settings, options.batch_size or 1)


def published_facts(component: Component, learned_variance: bool = True) -> dict[str, Any]:
    """The facts of a run that a variant's published figures are of; where its file does not say, those of Latte's."""
    general = {**latent_facts(DEFAULT_LATENTS), "num_classes": 0, "learned_variance": learned_variance}
    return {**general, **component.published}


def variant_names(given: dict[str, Any]) -> list[str]:
    """Take the names of one variant or of several out of parsed words.

    Raises:
        StbenchError: none, or one twice.
    """
    named = given.pop("variant", None)
    if named is None:
        raise StbenchError("variant=NAME is missing; `stbench list variants` shows what there is")
    names = list(map(str, named if isinstance(named, list) else str(named).split(",")))
    for name in names:
        if names.count(name) > 1:
            raise StbenchError(f"variant {name} is given twice")
    return names


@contextlib.contextmanager
def naming_all(names: Sequence[str]) -> Iterator[None]:
    """Say of what is refused with several variants that words go to each of them."""
    try:
        yield
    except StbenchError as error:
        if len(names) == 1:
            raise
        everybody = ",".join(names)
        raise StbenchError(f"{error} (variant.KEY goes to each of {everybody}; for one alone, write a YAML)") from error


def _sizes(options: ProfileOptions) -> Scale | None:
    axes = options.scale or []
    if len(axes) > 1:
        raise StbenchError(f"--scale {' --scale '.join(axes)}: expected one axis, as costs grow along one at a time")
    return parse_scale(axes[0]) if axes else None


def _matched(variants: Mapping[str, Variant], name: str) -> dict[str, Variant]:
    """The variants at sizes at which they have as many parameters as the variant `name` under the same facts."""
    found = {}
    for own, variant in variants.items():
        component = load_component("variant", name)
        if variant.preset is not None:
            component, _ = component.with_preset(variant.preset)
        wanted = replace(variant, component=component).num_parameters
        match = variant.matched(wanted)
        found[own] = match.variant
        console().print(
            f"{own}: variant.{match.argument}={match.size} has {match.num_parameters:,} parameters, {name} {wanted:,} "
            f"({match.num_parameters / wanted - 1:+.2%})",
            soft_wrap=True,
        )
    return found


def _complete(
    variant: Variant,
    cost: Cost,
    conditions: Conditions | None,
    ceilings: Ceilings | None,
    options: ProfileOptions,
    sizes: Scale | None,
    batch_size: int,
) -> VariantCost:
    """Everything that was asked for about a variant whose cost is known."""
    complete = replace(variant.uncosted, cost=cost)
    if conditions and ceilings:
        complete = replace(complete, utilisation=utilisation(variant.subject, cost, ceilings))
    if conditions and options.find_batch_size:
        search = search_batch_size(variant.subject, conditions, options.max_batch_size)
        complete = replace(complete, batch_size_search=search)
    if options.shapes:
        complete = replace(complete, shapes=block_shapes(variant.subject.construct, variant.subject.workload))
    if sizes:
        complete = replace(complete, scaling=_go_through(variant, sizes, conditions, batch_size))
    return complete


def _go_through(variant: Variant, sizes: Scale, conditions: Conditions | None, batch_size: int) -> Scaling:
    """Costs of one variant at every size, and the exponents that they grow with."""
    points = []
    for size in sizes.values:
        clips = size if sizes.axis == "batch" else batch_size
        cost = attempt(_cost_at, variant, sizes.axis, size, conditions and replace(conditions, batch_size=clips))
        points.append({sizes.axis: size, **_figures(cost, clips)})
    figures = dict.fromkeys(key for point in points for key in point if key not in (sizes.axis, "status", "reason"))
    exponents: dict[str, float | None] = {}
    for figure in figures:
        known = [(point[sizes.axis], point[figure]) for point in points if point.get(figure)]
        exponents[figure] = fit_exponent(*zip(*known, strict=True)) if known else None
    return Scaling(axis=sizes.axis, points=tuple(points), exponents=exponents, formula=FORMULA)


def _cost_at(variant: Variant, axis: str, size: int, conditions: Conditions | None) -> Cost:
    subject = variant.scaled(axis, size).subject
    if conditions is None:
        return Cost(counts=count(subject.construct, subject.workload, with_fvcore=False))
    [cost] = measure_costs([subject], conditions)
    return value_of(cost)


def _figures(cost: Cost | Failure, batch_size: int) -> dict[str, Any]:
    """The costs at one size under names with units; a size that cannot be built or held in memory says why."""
    if isinstance(cost, Failure):
        unknown = dict.fromkeys(("params_total", "gmacs", "gmacs_train_step"))
        return {**unknown, "status": cost.status, "reason": cost.reason}
    step_gmacs = cost.counts.gmacs_train_step
    memory = asdict(cost.memory) if cost.memory else {}
    return {
        "params_total": cost.counts.params_total,
        "gmacs": cost.counts.gmacs * batch_size,
        "gmacs_train_step": None if step_gmacs is None else step_gmacs * batch_size,
        **{f"{name}_s": timing.median for name, timing in cost.timing.items()},
        **{name: value for name, value in memory.items() if isinstance(value, float)},
        "status": "finished",
        "reason": None,
    }
