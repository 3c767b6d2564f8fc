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
from stbench.profiling.flops import count_parameters
from stbench.reports.terminal import print_rows
from stbench.run.setup import Setup, prepare
from stbench.runtime.machine import is_out_of_memory
from stbench.settings.components import CannotBuild, Component, load_component, signature_parameters
from stbench.settings.resolve import parse_overrides, resolve

DEFAULTS = {"dataset": "shapes", "preset": "smoke"}
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
            verdicts += [_expected_parameters(load_component("variant", name), setup), *_counted(setup)]
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


def _expected_parameters(as_written: Component, setup: Setup) -> Verdict:
    """Whether the file's own network, without a preset, has the parameters that the file expects, as far as it says."""
    name, expect = "parameters", as_written.expect
    if unknown := [key for key in expect if key != "params_m"]:
        return Verdict(name, "failed", f"expect: unknown key {unknown[0]!r}: known: params_m")
    if "params_m" not in expect:
        return Verdict(name, "n/a", "the file expects none (expect: {params_m: 12.34})")
    if type(expect["params_m"]) not in (int, float):
        return Verdict(name, "failed", f"expect: params_m={expect['params_m']}: expected a number, in millions")
    without_default = [key for key, each in signature_parameters(as_written).items() if each.default is each.empty]
    facts = {key: value for key, value in setup.backbone_arguments.items() if key in without_default}
    with torch.device("meta"):
        millions = Decimal(count_parameters(as_written.construct({**facts, **as_written.published}))[1]) / 10**6
    printed = Decimal(str(expect["params_m"]))  # some papers cut, some round
    agrees = printed in (millions.quantize(printed, ROUND_FLOOR), millions.quantize(printed, ROUND_HALF_UP))
    comparison = f"as expected ({printed} M)" if agrees else f"expect: {printed} M"
    return Verdict(name, "passed" if agrees else "failed", f"{millions:.4f} M trained, {comparison}")


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
