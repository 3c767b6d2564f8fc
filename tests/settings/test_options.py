"""Options that are declared once: a command gets them from its dataclass, and hands them on as one object."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from stbench.settings.options import FvdOptions, NoiseOptions, ProfileOptions, with_options
from stbench.studies.distorted import GROUP_SIZE


@dataclasses.dataclass(frozen=True, kw_only=True)
class BakeOptions:
    """What a command of this test does."""

    minutes: Annotated[int, typer.Option(help="In the oven.", min=1)] = 30
    dry: Annotated[bool, typer.Option("--dry", help="Without water.")] = False
    oven: Annotated[Path | None, typer.Option("--in", help="Which oven.")] = None


SEEN: dict[str, Any] = {}
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@with_options
def bake(
    what: Annotated[str, typer.Argument(help="Bread or cake.")],
    toppings: Annotated[list[str] | None, typer.Argument(help="On top.")] = None,
    *,
    options: BakeOptions,
    note: Annotated[str, typer.Option(help="For the baker.")] = "none",
) -> None:
    """Bake something."""
    SEEN.update(what=what, toppings=toppings, options=options, note=note)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["bread"], BakeOptions()),
        (
            ["bread", "--minutes", "5", "--dry", "--in", "here"],
            BakeOptions(minutes=5, dry=True, oven=Path("here")),
        ),
    ],
    ids=["defaults", "all of them"],
)
def test_a_command_gets_its_options_as_one_object(words: list[str], options: BakeOptions) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert {**SEEN, "toppings": SEEN["toppings"] or []} == {
        "what": "bread",
        "toppings": [],
        "options": options,
        "note": "none",
    }


def test_arguments_before_options_stay_what_they_are() -> None:
    done = CliRunner().invoke(app, ["cake", "nuts", "--dry", "salt", "--note", "soon"])
    assert done.exit_code == 0, done.output
    assert {"what": "cake", "toppings": ["nuts", "salt"], "options": BakeOptions(dry=True), "note": "soon"} == SEEN


def test_help_shows_every_option_with_its_range_and_default() -> None:
    done = CliRunner().invoke(app, ["--help"], terminal_width=80)
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "Bake something." in lines
    start = lines.index("Options:") + 1
    assert [line.split()[0] for line in lines[start:] if line.startswith("--")] == [
        "--minutes",
        "--dry",
        "--in",
        "--note",
        "--help",
    ]
    text = " ".join(lines).replace("\\[", "[")  # which typer 0.15 wrote
    assert "In the oven. [default: 30; x>=1]" in text
    assert "Without water. --in" in text  # a flag has no default to show


@pytest.mark.parametrize("minutes", ["0", "long"])
def test_a_value_out_of_range_is_wrong_use(minutes: str) -> None:
    done = CliRunner().invoke(app, ["bread", "--minutes", minutes])
    assert done.exit_code == 2
    assert "--minutes" in done.output


@pytest.mark.parametrize("options", [ProfileOptions, FvdOptions, NoiseOptions])
def test_every_option_has_a_default_and_a_line_of_help(options: type[Any]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        options().batch_size = 3
    for field in dataclasses.fields(options):
        assert field.default is not dataclasses.MISSING, field.name
        assert "help=" in str(field.type), field.name


def test_the_batch_of_the_noise_study_is_what_is_distorted_together() -> None:
    assert NoiseOptions().batch_size == GROUP_SIZE
