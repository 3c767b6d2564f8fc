"""`stbench check`: the contract of a backbone, asked of one variant as a run would use it, a line for each rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

import torch

from stbench.backbones.contract import RULES, Verdict, examine
from stbench.errors import CheckFailed, FinishedInPart, StbenchError, first_line
from stbench.profiling.counts import count
from stbench.profiling.flops import count_operations, count_parameters
from stbench.profiling.variants import Variant, published_facts
from stbench.reports.terminal import print_rows
from stbench.run.setup import Setup, prepare
from stbench.runtime.machine import is_out_of_memory
from stbench.settings.components import CannotBuild, Component, load_component, signature_parameters
from stbench.settings.resolve import parse_overrides, resolve

DEFAULTS = {"dataset": "shapes", "preset": "smoke"}
EXPECTED = {"params_m": "parameters", "gmacs": "published operations"}  # what a file may expect, and of which rule
STATUS_WORDS = {"passed": "passed", "failed": "FAILED", "note": "note", "n/a": "-"}


@dataclass(frozen=True)
class BackboneCheck:
    """What was found about a variant.

    Attributes:
        variant: as the words name it.
        run: what it was asked for, in words; empty where that could not be built.
        verdicts: one on each rule, up to the first without which nothing else can be asked.
    """

    variant: str
    run: str
    verdicts: tuple[Verdict, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def raise_if_failed(self) -> None:
        """Raise what makes the command's exit status 1.

        Raises:
            CheckFailed: naming the first rule that the variant breaks.
        """
        failed = [verdict for verdict in self.verdicts if verdict.status == "failed"]
        if failed:
            more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
            raise CheckFailed(f"variant {self.variant}: {failed[0].name}: {failed[0].reason}{more}")


def check_backbone(words: Iterable[str]) -> BackboneCheck:
    """Ask a variant the rules of the contract, and what its file and the counters say of it.

    Args:
        words: those of a run; the dataset and the preset have defaults here (`DEFAULTS`).

    Raises:
        StbenchError: for wrong words, and for what a run lacks besides its backbone.
        FinishedInPart: when memory runs out.
    """
    given = parse_overrides(words := list(words))
    name = str(given.get("variant"))
    defaults = [f"{key}={value}" for key, value in DEFAULTS.items() if key not in given]
    try:
        setup = prepare(resolve([*defaults, *words]))
        verdicts = examine(setup.construct_unfrozen, setup.task)
        if len(verdicts) == len(RULES):
            verdicts += [*_expected(load_component("variant", name), setup), *_counted(setup)]
            verdicts += _filled_in(setup)
    except CannotBuild as error:
        if error.kind != "variant":
            raise
        return BackboneCheck(name, "", (Verdict("builds", "failed", str(error)),))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise FinishedInPart(f"out of memory; a smaller train.batch_size may do: {first_line(error)}") from error
    return BackboneCheck(name, _describe(setup), tuple(verdicts))


def print_check(check: BackboneCheck) -> None:
    """Print each rule with what was found."""
    print(": ".join(filter(None, (f"variant {check.variant}", check.run))))
    print_rows([(STATUS_WORDS[each.status], each.name, each.reason) for each in check.verdicts], indent=2)


def _describe(setup: Setup) -> str:
    config, latents = setup.config, "x".join(map(str, setup.latent_shape))
    objective, batch = config.settings.diffusion.objective, setup.task.batch_size
    code = config.contents.variant_code if config.contents else None
    words = [f"dataset {config.dataset.name}", f"preset {config.preset}", objective, f"{batch} latents of {latents}"]
    return ", ".join(words + ([f"code {code[:12]}"] if code else []))


def _expected(as_written: Component, setup: Setup) -> list[Verdict]:
    """Whether the file's own network, without a preset, has the figures that the file expects, as far as it says."""
    expect = as_written.expect
    if unknown := [key for key in expect if key not in EXPECTED]:
        return [Verdict("parameters", "failed", f"expect: unknown key {unknown[0]!r}: known: {', '.join(EXPECTED)}")]
    if "params_m" not in expect:
        return [Verdict("parameters", "n/a", "the file expects none (expect: {params_m: 12.34})")]
    for key, value in expect.items():
        if type(value) not in (int, float):
            return [Verdict(EXPECTED[key], "failed", f"expect: {key}={value}: expected a number")]
    found = [_agreement("parameters", _millions(as_written, setup), expect["params_m"], "M", "M trained")]
    if "gmacs" in expect:
        gmacs = published_gmacs(as_written)
        found.append(_agreement("published operations", gmacs, expect["gmacs"], "GMACs", "GMACs a clip"))
    return found


def published_gmacs(variant: Component) -> float:
    """10^9 multiply-accumulates of one clip of the input that a variant's published figures are of."""
    subject = Variant(variant, published_facts(variant), whole_timesteps=True).with_context().subject
    return count_operations(subject.construct, lambda: subject.workload.inputs(1)).gmacs


def _millions(as_written: Component, setup: Setup) -> float:
    without_default = [key for key, each in signature_parameters(as_written).items() if each.default is each.empty]
    facts = {key: value for key, value in setup.backbone_arguments.items() if key in without_default}
    with torch.device("meta"):
        return count_parameters(as_written.construct({**facts, **as_written.published}))[1] / 1e6


def _agreement(name: str, value: float, expected: float, unit: str, what: str) -> Verdict:
    """Whether a figure is the one that was printed: some papers cut, some round."""
    exact, printed = Decimal(value), Decimal(str(expected))
    agrees = printed in (exact.quantize(printed, ROUND_FLOOR), exact.quantize(printed, ROUND_HALF_UP))
    comparison = f"as expected ({printed} {unit})" if agrees else f"expect: {printed} {unit}"
    return Verdict(name, "passed" if agrees else "failed", f"{value:.4f} {what}, {comparison}")


def _filled_in(setup: Setup) -> list[Verdict]:
    """What the network is given that no run has, where it says so."""
    with torch.device("meta"):
        fills_in = getattr(setup.construct_backbone(), "fills_in", None)
    return [Verdict("fills in", "note", fills_in)] if fills_in else []


def _counted(setup: Setup) -> list[Verdict]:
    """Whether attention can be chosen, and what the counters of operations see."""
    try:
        counts = count(setup.construct_backbone, setup.workload)
    except StbenchError as error:
        return [Verdict("operations", "failed", str(error))]
    reached = counts.attention_modules
    attention = Verdict("attention", "passed", f"attention= reaches {reached} module{'s' * (reached != 1)}")
    if not reached:
        own = "attention= reaches no module; one that it reaches is stbench.Attend"
        attention = Verdict("attention", "n/a", own)
    if counts.incomplete:
        return [attention, *(Verdict("operations", "note", complaint) for complaint in counts.incomplete)]
    counters = ", ".join(counts.gmacs_by_counter)
    return [attention, Verdict("operations", "passed", f"{counts.gmacs:.4g} GMACs a clip, by {counters}")]
