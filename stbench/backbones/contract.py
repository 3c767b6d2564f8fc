"""The contract of a backbone: its rules, and what a network that is asked for them answers.

`docs/backbone.md` tells the contract; `stbench check` asks all rules, and every run those that are marked, before it
trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from stbench.backbones import rules
from stbench.backbones.rules import Answer, Status
from stbench.backbones.trial import Task, Trial
from stbench.errors import StbenchError, error_with_place
from stbench.runtime.machine import is_out_of_memory


@dataclass(frozen=True)
class Rule:
    """One rule of the contract.

    Attributes:
        name: a word or two.
        ask: finds out whether a network keeps it.
        at_start: what a run does with a network that breaks it: it is "refused", the user is "told", or the run does
            not ask.
        basic: without it nothing else can be asked.
    """

    name: str
    ask: Callable[[Trial], Answer]
    at_start: Literal["refused", "told"] | None = None
    basic: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether a network keeps one rule, and what was seen, in one line."""

    name: str
    status: Status
    reason: str


RULES = (
    Rule("builds", rules.builds, at_start="refused", basic=True),
    Rule("answers", rules.answers, at_start="refused", basic=True),
    Rule("shape", rules.shape, at_start="refused", basic=True),
    Rule("finite", rules.finite, at_start="refused", basic=True),
    Rule("modes", rules.modes, at_start="refused", basic=True),
    Rule("joint images", rules.joint_images, at_start="refused"),
    Rule("gradients", rules.gradients, at_start="refused"),
    Rule("inputs untouched", rules.untouched, at_start="refused"),
    Rule("repeats", rules.repeats, at_start="refused"),
    Rule("clips apart", rules.clips_apart, at_start="refused"),
    Rule("batch sizes", rules.batch_sizes, at_start="refused"),
    Rule("copy", rules.copy, at_start="refused"),
    Rule("buffers", rules.buffers, at_start="refused"),
    Rule("timestep range", rules.timestep_range, at_start="refused"),
    Rule("null class", rules.null_class, at_start="refused"),
    Rule("frame timesteps", rules.frame_timesteps),
    Rule("timestep", rules.timestep, at_start="told"),
    Rule("class", rules.class_label, at_start="told"),
    Rule("every frame", rules.every_frame),
    Rule("every channel", rules.every_channel),
    Rule("precisions", rules.precisions),
    Rule("state dict", rules.state_dict),
)


def examine(construct: Callable[[], nn.Module], task: Task, asked: Iterable[Rule] = RULES) -> list[Verdict]:
    """Ask a backbone the rules of the contract, in order, up to a basic one that it breaks.

    Args:
        construct: builds the network on torch's current default device; it is built more than once.
        task: what a run will ask of it.
        asked: which rules.

    Returns:
        A verdict on each rule. Torch's global random state is left as it was.

    Raises:
        RuntimeError, MemoryError: when memory runs out (`is_out_of_memory`).
    """
    verdicts = []
    device = task.runtime.device
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        trial = Trial(construct, task)
        for rule in asked:
            status, reason = _ask(rule, trial)
            verdicts.append(Verdict(rule.name, status, reason))
            if rule.basic and status == "failed":
                break
    return verdicts


def refuse_broken(construct: Callable[[], nn.Module], task: Task, name: str) -> list[Verdict]:
    """Ask the rules that a run asks before it trains.

    Args:
        construct: as of `examine`.
        task: as of `examine`.
        name: of the backbone, for the message.

    Returns:
        Verdicts on the broken rules that a user is only told of.

    Raises:
        StbenchError: naming the first broken rule that a run is refused for.
    """
    asked = {rule.name: rule for rule in RULES if rule.at_start}
    broken = [verdict for verdict in examine(construct, task, asked.values()) if verdict.status == "failed"]
    for verdict in broken:
        if asked[verdict.name].at_start == "refused":
            raise StbenchError(f"{name} breaks the contract of a backbone: {verdict.name}: {verdict.reason}")
    return broken


def _ask(rule: Rule, trial: Trial) -> Answer:
    try:
        return rule.ask(trial)
    except (Exception, SystemExit) as error:  # somebody else's network may do anything
        if is_out_of_memory(error):
            raise
        return "failed", error_with_place(error)
