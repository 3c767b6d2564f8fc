"""The command line. Every command imports what it needs when it runs, so that `--help` and `list` answer at once.

Exit status: 0 fine; 1 a regression or a failed check; 2 wrong use; 3 finished in part; 4 not comparable; 128 and its
number for a signal; 70 an error of stbench itself.
What programs read goes to files or standard output; progress and messages go to standard error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
import traceback
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from stbench import __version__, paths
from stbench.errors import FinishedInPart, StbenchError, error_with_place, first_line, is_of_own_code
from stbench.settings.options import (
    FvdOptions,
    NoiseOptions,
    NullOptions,
    ProfileOptions,
    ReproduceOptions,
    SeedsOptions,
    SweepOptions,
    with_options,
)
from stbench.signals import Interrupted, heeded

app = typer.Typer(
    name="stbench",
    help="Train, sample and measure spatio-temporal backbones of video diffusion models: one command, one record.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...", help="Settings, e.g. variant=latte1 dataset=shapes preset=demo train.lr=1e-3."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder of the runs; each gets a folder of its own in it.")]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Import the code that a run's folder names, when it is not stbench's.")
]
Json = Annotated[str | None, typer.Option("--json", help="Write JSON to this file; - is standard output.")]


class Listing(str, Enum):
    """What `stbench list` can list."""

    variants = "variants"
    datasets = "datasets"
    presets = "presets"
    protocols = "protocols"
    detectors = "detectors"
    claims = "claims"
    settings = "settings"


def main() -> None:
    """Entry point: run the command, and turn errors and signals into one line and an exit status."""
    sys.exit(_status())  # not below `except`, where the error would keep alive what the command was at


def _status() -> str | int | None:
    try:
        with heeded():
            app()
    except SystemExit as ended:  # as typer ends every command
        if is_of_own_code(ended):  # or a user's backbone, dataset or detector, whose status is none of ours
            print(f"stbench: {error_with_place(ended)}", file=sys.stderr)
            return StbenchError.exit_status
        broken = isinstance(ended.__context__, BrokenPipeError) or not _flushed()
        return 128 + signal.SIGPIPE if broken else ended.code
    except (StbenchError, Interrupted) as error:
        with contextlib.suppress(BrokenPipeError):
            print(f"stbench: {error}", file=sys.stderr)
        return error.exit_status
    except Exception as error:  # the last door
        told, status = _told(error)
        print(f"stbench: {told}", file=sys.stderr)
        return status
    return 0


def _told(error: Exception) -> tuple[str, int]:
    """What is said of an error that nobody expected, and its exit status."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}", StbenchError.exit_status
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory: {first_line(error)}", FinishedInPart.exit_status
    if is_of_own_code(error):
        return error_with_place(error), StbenchError.exit_status
    return f"internal error: {error_with_place(error)}; {_kept_traceback(error)}", os.EX_SOFTWARE


def _kept_traceback(error: Exception) -> str:
    """Write down what only those who mend stbench can read, and say where it is."""
    lines = traceback.format_exception(error)
    path = paths.user_state() / f"error-{os.getpid()}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join([f"stbench {__version__}: {shlex.join(sys.argv)}\n\n", *lines]), "utf-8", "replace")
    except OSError:
        return "".join(["its traceback cannot be kept:\n", *lines]).rstrip()
    return f"please report it with {path}"


def _flushed() -> bool:
    """Whether standard output took everything; where nobody reads it any more (`| head`), the rest goes nowhere."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _show_version(asked: bool) -> None:
    if asked:
        print(f"stbench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    config_dir: Annotated[
        Path | None,
        typer.Option(help="Another folder with variants/ and datasets/; also by STBENCH_CONFIG_DIR.", exists=True),
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Options of every command."""
    if config_dir is not None:
        if not any((config_dir / kind).is_dir() for kind in ("variants", "datasets")):
            raise StbenchError(f"--config-dir {config_dir}: expected a folder with variants/ or datasets/ in it")
        os.environ[paths.CONFIG_DIR_VARIABLE] = str(config_dir)


@app.command("list")
def list_command(
    what: Annotated[Listing | None, typer.Argument(help="What to list; everything when left out.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="variant=NAME and dataset=NAME: settings lists theirs as well."),
    ] = None,
) -> None:
    """List variants, datasets, presets, protocols, detectors, claims and settings."""
    from stbench.checks.listing import print_listing

    for each in [what] if what else list(Listing):
        print_listing(each.value, overrides or [])


@app.command()
def check(overrides: Overrides = None, json_path: Json = None) -> None:
    """Ask a variant the contract of a backbone, a line for each rule; exit status 1 when it breaks one."""
    from stbench.checks.backbone import check_backbone, print_check

    _check_json(json_path)
    found = check_backbone(overrides or [])
    if json_path:
        _write_json(json_path, found.to_json())
    if json_path != "-":
        print_check(found)
    found.raise_if_failed()


@app.command()
def run(
    overrides: Overrides = None,
    out: Out = paths.DEFAULT_RUNS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build all but weights, print settings, hash and costs; write nothing.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
) -> None:
    """Train, sample and evaluate one variant on one dataset, and write its record."""
    from stbench.settings.resolve import resolve

    config = resolve(overrides or [])
    if dry_run:
        from stbench.checks.listing import print_forecast
        from stbench.run.preview import forecast
        from stbench.run.setup import prepare

        print_forecast(forecast(prepare(config)))
        return
    from stbench.reports.terminal import print_record
    from stbench.run import stages

    print_record(stages.run(config, out, resume))


@app.command(name="sweep")
@with_options
def sweep_command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Settings; lists make a product: variant=latte1,latte2 seed=0,1."),
    ] = None,
    *,
    options: SweepOptions,
    out: Out = paths.DEFAULT_RUNS,
) -> None:
    """Run the product of lists of settings, each cell in a process and a folder of its own; exit status 3 if in part.

    A list is a,b; a value that holds commas stands in brackets, [a,b], or quotes, and braces may stand around the list:
    'dataset.motions={[left,up],[right,down]}' are two values. Called again, it goes on: what is finished is skipped.
    """
    from stbench.launch.sweep import sweep

    sweep(overrides or [], options, out)


@app.command(name="reproduce")
@with_options
def reproduce_command(
    claims: Annotated[str, typer.Argument(metavar="CLAIMS", help="The name of a file of claims, or its path.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Settings of all runs, above the scale's: dataset.root=..."),
    ] = None,
    *,
    options: ReproduceOptions,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the runs; by default runs/CLAIMS-SCALE.")] = None,
) -> None:
    """Run what is missing to check the claims of a paper, and say of each whether it holds; docs/claims.md.

    Exit status 1 when a control says that the scale cannot tell, 3 when runs are missing. Called again, it goes on.
    """
    from stbench.launch.reproduce import reproduce

    reproduce(claims, overrides or [], options, out or paths.DEFAULT_RUNS / f"{Path(claims).stem}-{options.scale}")


@app.command()
@with_options
def profile(
    overrides: Overrides = None,
    *,
    options: ProfileOptions,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for tables and plots.")] = None,
    json_path: Json = None,
) -> None:
    """Parameters, operations, times and memory of a variant, or of several in turn (variant=latte1,latte2).

    With dataset= they are those of exactly the network that this run would train, as it would train it.
    """
    from stbench.profiling.variants import check_complete
    from stbench.reports.costs.tables import check_costs_folder, print_costs, write_costs
    from stbench.run.preview import profile_words

    _check_json(json_path)
    if out:
        check_costs_folder(out)
    costs = profile_words(overrides or [], options)
    if json_path:
        _write_json(json_path, costs.to_json())
    if json_path != "-":
        print_costs(costs)
    if out:
        write_costs(costs, out)
    check_complete(costs)


@app.command()
def sample(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a weights file with KEY=VALUEs.")],
    overrides: Overrides = None,
    num: Annotated[int, typer.Option("--num", help="How many clips.", min=1)] = 16,
    frames: Annotated[
        int | None,
        typer.Option("--frames", help="Frames of each; other than the run's with eval.sampler=fifo-...", min=1),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to.")] = None,
    trust_code: TrustCode = False,
) -> None:
    """Draw samples from a trained run or from published weights, as a moving picture and an .npz file."""
    from stbench.run.reuse import sample_from

    print(sample_from(source, overrides or [], num, out, trust_code, frames))


@app.command()
def cascade(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs' folders: a prior or none, one of task=generate, then the others."),
    ],
    num: Annotated[int, typer.Option("--num", help="How many clips.", min=1)] = 4,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("cascade"),
    trust_code: TrustCode = False,
) -> None:
    """Make clips by one run and finish them by others: the frames between, the pixels; with the cost of each stage."""
    from stbench.reports.terminal import print_cascade
    from stbench.run.cascade import cascade_to

    path, made = cascade_to(runs, num, out, trust_code)
    print_cascade(made.stages)
    print(path)


@app.command()
def evaluate(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a weights file with KEY=VALUEs.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of runs for the record; by default the run's, for weights runs/."),
    ] = None,
    trust_code: TrustCode = False,
    json_path: Json = None,
) -> None:
    """Measure a run again under another protocol, sampler or guidance, or published weights for the first time."""
    from stbench.reports.terminal import print_quality, print_validation
    from stbench.run.reuse import evaluate_again

    _check_json(json_path)
    figures = evaluate_again(source, overrides or [], out, trust_code)
    if json_path:
        of_validation = dataclasses.asdict(figures.validation) if figures.validation else None
        _write_json(json_path, {**dataclasses.asdict(figures.quality), "validation": of_validation})
    if json_path != "-":
        print_validation(figures.validation, figures.no_validation)
        print_quality(figures.quality)


@app.command()
@with_options
def fvd(
    real: Annotated[
        Path, typer.Argument(help="Folder of videos or of frame folders, .npz of clips, or features kept before.")
    ],
    fake: Annotated[Path, typer.Argument(help="The same of the generated videos.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="protocol=NAME, protocol.FIELD=VALUE, e.g. protocol.num_fake=512."),
    ] = None,
    *,
    options: FvdOptions,
    json_path: Json = None,
) -> None:
    """Distances between two sets of videos; exit status 3 where there are too few clips for an FVD, or an FID."""
    from stbench.fvd.measure import measure
    from stbench.fvd.terminal import print_fvd
    from stbench.fvd.words import protocol_from_words
    from stbench.runtime.processes import is_first, joined_group

    _check_json(json_path)
    protocol = protocol_from_words(overrides or [])
    with joined_group():
        outcome = measure(real, fake, protocol, options)
        first = is_first()
    if first and json_path:
        _write_json(json_path, outcome.to_dict())
    if first and json_path != "-":
        print_fvd(outcome)
    if outcome.refusal:
        raise FinishedInPart(f"FVD refused: {outcome.refusal}")
    if outcome.frames and outcome.frames.refused:
        raise FinishedInPart(f"FID refused: {outcome.frames.refused}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")],
) -> None:
    """Tables, plots and one self-contained HTML page from any number of runs."""
    from stbench.reports.report import write_report
    from stbench.reports.terminal import print_report

    print_report(write_report(runs, out))


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(help="A run, or a folder of runs.")],
    new: Annotated[Path, typer.Argument(help="What to compare with it.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the comparison.")],
    noise_cards: Annotated[
        Path | None,
        typer.Option(help="Folder with noise cards; by default results/reference of the checkout.", exists=True),
    ] = None,
) -> None:
    """Compare runs with a baseline: exit status 1 a regression, 3 runs that failed or are missing, 4 not comparable."""
    from stbench.reports.comparison.compare import compare as compare_runs
    from stbench.reports.comparison.page import comparison_markdown

    comparison = compare_runs(base, new, out, noise_cards)
    print(comparison_markdown(comparison, folded=False))
    raise typer.Exit(comparison.exit_status)


study_app = typer.Typer(help="Studies of the instruments themselves.", no_args_is_help=True)
app.add_typer(study_app, name="study")


@study_app.command("noise")
@with_options
def study_noise_command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...",
            help="detector=shapes3d|i3d|module:Class, preprocessing, dataset, dataset.KEY, preset, device.",
        ),
    ] = None,
    *,
    options: NoiseOptions,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = paths.DEFAULT_RUNS / "noise-study",
) -> None:
    """What a detector's FVD sees (the FVD paper's noise study), and how biased it is at how many clips."""
    from stbench.reports.noise.findings import findings
    from stbench.studies.noise import study_noise

    for sentence in findings(study_noise(overrides or [], options, out)):
        print(sentence)
    print(f"study: {out / 'index.html'}")


@study_app.command("seeds")
@with_options
def study_seeds_command(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="RUNS...|KEY=VALUE...", help="Folders of finished runs, or the words of the runs."),
    ],
    *,
    options: SeedsOptions,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = paths.DEFAULT_RUNS / "noise-card",
) -> None:
    """How far training seeds, sampling seeds and clips move the figures of an arm: a noise card, from ten seeds on."""
    from stbench.launch.seeds import study_seeds
    from stbench.reports.noise.seeds import findings

    for sentence in findings(study_seeds(sources, options, out)):
        print(sentence)
    print(f"study: {out / 'index.html'}")


@study_app.command("null")
@with_options
def study_null_command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")], *, options: NullOptions
) -> None:
    """How often a comparison finds something where nothing changed: seeds of a configuration, split at random."""
    from stbench.studies.null import study_null

    for calibration in study_null(runs, options):
        for sentence in calibration.sentences:
            print(sentence)


@app.command()
def doctor() -> None:
    """What this machine has: devices, precisions, attention backends, weights, and how to get what is missing."""
    from stbench.checks.doctor import print_diagnosis

    print_diagnosis()


def _check_json(path: str | None) -> None:
    """Refuse what `_write_json` could not write, before the work."""
    from stbench.storage.files import check_file

    if path not in (None, "-"):
        check_file(Path(path))


def _write_json(path: str, content: Any) -> None:
    """Write JSON whole or not at all to a file, or print it where the path is "-"."""
    from stbench.storage.files import write_json

    if path == "-":
        print(json.dumps(content, indent=1, allow_nan=False))
    else:
        write_json(Path(path), content)


if __name__ == "__main__":
    main()
