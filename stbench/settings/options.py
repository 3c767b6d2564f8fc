"""The options of the commands that have many: each is declared here once, and handed on inside its dataclass.

A field is an option of the command line and an attribute for the code: its type, its default, its range and its line of
`--help` stand together. `with_options` gives a command the fields of its dataclass. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from stbench import paths


@dataclass(frozen=True, kw_only=True)
class ProfileOptions:
    """What `stbench profile` does beside its KEY=VALUE words."""

    counts_only: Annotated[bool, typer.Option("--counts-only", help="Count; time nothing.")] = False
    batch_size: Annotated[
        int | None, typer.Option(help="Clips of a timed step; by default the run's, or 1 without dataset=.", min=1)
    ] = None
    latents: Annotated[
        str | None, typer.Option(help="CxFxHxW of one clip, without dataset=; by default those of published figures.")
    ] = None
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Show what goes through each block, beside what claims state of it.")
    ] = False
    find_batch_size: Annotated[
        bool, typer.Option("--find-batch-size", help="Double the batch of a training step until memory runs out.")
    ] = False
    max_batch_size: Annotated[int, typer.Option(help="Where --find-batch-size stops.", min=1)] = 1024
    scale: Annotated[
        list[str] | None,
        typer.Option(help="Go through sizes: frames=8,16,32, or resolution= (of the latents), width=, batch=."),
    ] = None
    match_params: Annotated[
        str | None,
        typer.Option(metavar="VARIANT", help="Choose each variant's width so that it has as many parameters as this."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FvdOptions:
    """How `stbench fvd` works; no option changes the figures but for rounding, or leaves one of them out."""

    weights: Annotated[Path | None, typer.Option(help="Weights file of the detector.")] = None
    # Kept features make a second comparison with the same real videos quick; None keeps nothing.
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the outcome, every video's features, and a look at the clips."),
    ] = None
    no_control: Annotated[
        bool,
        typer.Option("--no-control", help="Leave out the distance with shuffled frames."),
    ] = False
    frames: Annotated[
        bool,
        typer.Option(
            "--frames",
            help="Also measure how single frames look: FID by Inception (STBENCH_INCEPTION, or --frame-weights FILE).",
        ),
    ] = False
    frame_weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights file of Inception.")] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    batch_size: Annotated[int, typer.Option(help="Clips through the detector at once.", min=1)] = 16
    num_workers: Annotated[int, typer.Option("--workers", help="Processes that decode.", min=0)] = 0


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """What `stbench study noise` does beside its KEY=VALUE words."""

    num: Annotated[int, typer.Option("--num", help="Clips on each side; takes twice as many videos.")] = 2048
    weights: Annotated[Path | None, typer.Option(help="Weights file of the detector.")] = None
    seed: Annotated[int, typer.Option(help="Of the choice of clips, the distortions and the splits.", min=0)] = 0
    dim: Annotated[int, typer.Option(help="Of the exact Gaussians that check the code; 0 for none.", min=0)] = 400
    batch_size: Annotated[int, typer.Option(help="Clips through the detector at once, at most 16.", min=1)] = 16
    num_workers: Annotated[int, typer.Option("--workers", help="Processes that decode.", min=0)] = 0


class Until(str, Enum):
    """When a sweep has seeds enough."""

    decided = "decided"


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What `stbench sweep` does beside its KEY=VALUE words."""

    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'KEY=VALUE...'", help="One arm, or the product of its lists, beside the words of all; repeatable."
        ),
    ] = None
    plan: Annotated[bool, typer.Option("--plan", help="Say what would run and what it takes; write nothing.")] = False
    jobs: Annotated[
        int | None, typer.Option(help="Cells at once, the threads divided; by default 2 on a CPU, 1 on a GPU.", min=1)
    ] = None
    retry: Annotated[bool, typer.Option("--retry", help="Run what failed once more, from its newest checkpoint.")] = (
        False
    )
    until: Annotated[
        Until | None, typer.Option(help="Add seeds in rounds until every pair of arms is decided, with no more errors.")
    ] = None
    max_seeds: Annotated[
        int | None, typer.Option(help="Of an arm, with --until; by default 12. What is undecided then stays so.", min=2)
    ] = None
    measure: Annotated[
        str | None, typer.Option(help="What arms are compared by: validation_loss, the default, fvd, motion_all, ...")
    ] = None
    margin: Annotated[
        float | None, typer.Option(help="Largest difference that counts as none; by default 0.1, 10 %.", min=0)
    ] = None


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """What `stbench reproduce` does beside its KEY=VALUE words."""

    scale: Annotated[str, typer.Option(help="One of the file's scales; `stbench list claims` shows them.")]
    plan: Annotated[bool, typer.Option("--plan", help="Say what would run and what it takes; write nothing.")] = False
    jobs: Annotated[
        int | None, typer.Option(help="Runs at once, the threads divided; by default 2 on a CPU, 1 on a GPU.", min=1)
    ] = None
    retry: Annotated[bool, typer.Option("--retry", help="Run what failed once more, from its newest checkpoint.")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class SeedsOptions:
    """What `stbench study seeds` does beside its runs or words."""

    seeds: Annotated[int, typer.Option(help="Of each arm, from 0 on; with words.", min=10)] = 10
    jobs: Annotated[int, typer.Option(help="Runs at once; with words.", min=1)] = 1
    runs: Annotated[Path, typer.Option(help="Folder of the runs that are made; with words.")] = paths.DEFAULT_RUNS


@dataclass(frozen=True, kw_only=True)
class NullOptions:
    """What `stbench study null` does beside its runs."""

    seeds: Annotated[int, typer.Option(help="On each side; a configuration needs twice as many runs.", min=1)] = 5
    draws: Annotated[int, typer.Option(help="How often the runs are split.", min=1)] = 1000
    noise_cards: Annotated[
        Path | None, typer.Option(help="Folder with noise cards, which are not of these runs.", exists=True)
    ] = None


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of its parameter `options`, the fields of the dataclass that this parameter is of."""
    signature = inspect.signature(command, eval_str=True)
    declared = signature.parameters["options"].annotation
    types, fields = get_type_hints(declared, include_extras=True), dataclasses.fields(declared)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name == "options":
            parameters += [parameter.replace(name=f.name, default=f.default, annotation=types[f.name]) for f in fields]
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def with_fields(**given: Any) -> None:
        options = declared(**{field.name: given.pop(field.name) for field in fields})
        command(options=options, **given)

    # What typer reads; keyword-only, so that arguments with and without defaults may stand in any order.
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    with_fields.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    return with_fields
