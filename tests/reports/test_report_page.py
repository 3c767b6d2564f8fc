"""The report's page: its title and tiles, what it says of samples, what is missing, and how runs were measured."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from stbench.reports.figures import TRADE_OFFS
from stbench.reports.media import Strip
from stbench.reports.plots import Plot
from stbench.reports.report_page import ReportContent, report_page
from stbench.reports.runs import load_runs
from stbench.reports.samples import SampleGrid, SampleRow
from stbench.reports.tables import shown_tables

MakeRun = Callable[..., Path]
STRIP = Strip(b"moving", b"still", 160, 80)


def body(
    folder: Path, grids: Sequence[SampleGrid] = (), plots: Sequence[Plot] = (), missing: Sequence[str] = ()
) -> str:
    """The page of the runs in a folder, from its header to its footer, without empty lines."""
    reported = load_runs([folder])
    unread = list(reported.found.unreadable.values())
    drawn = {TRADE_OFFS: list(plots)}
    content = ReportContent(["found"], ["doubt"], shown_tables(reported), drawn, list(missing), list(grids), unread)
    page = report_page(reported, content)
    visible = page[page.index("<header>") : page.index("</main>")]
    return "\n".join(line for line in visible.splitlines() if line)


def section(page: str, heading: str) -> list[str]:
    """The lines of one section below its heading."""
    found = re.search(rf"<section>\n<h2>{heading}</h2>\n(.*?)\n?</section>", page, re.S)
    assert found is not None
    return found[1].splitlines()


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>([^<]+)</h2>", page)


def test_header_of_two_variants(make_run: MakeRun) -> None:
    make_run("latte1", 1, created="2026-01-04T00:00:00+00:00")
    page = body(make_run("latte2", 0).parent)
    assert page[: page.index("<main>")] == (
        "<header>\n"
        '<p class="eyebrow">stbench report · 2026-01-02 to 2026-01-04</p>\n'
        "<h1>latte1 and latte2 on shapes</h1>\n"
        '<dl class="tiles">\n'
        "<div><dt>Runs finished</dt><dd>2 of 2</dd></div>\n"
        "<div><dt>Seeds</dt><dd>2 (seeds 0, 1)</dd></div>\n"
        "<div><dt>Preset</dt><dd>demo</dd></div>\n"
        "<div><dt>Training steps</dt><dd>40</dd></div>\n"
        "<div><dt>Detector</dt><dd>shapes3d</dd></div>\n"
        "</dl>\n"
        "</header>\n"
    )


def test_many_configurations_of_few_variants_are_told_apart(make_run: MakeRun) -> None:
    for steps in range(8):
        run = make_run("a" if steps else "b", **{"config.train.steps": steps})
    lines = body(run.parent).splitlines()
    assert lines[2:4] == ["<h1>2 variants in 8 configurations on shapes</h1>", '<dl class="tiles">']
    assert "<div><dt>Training steps</dt><dd>0, 1, 2, 3, 4, 5, 6, 7</dd></div>" in lines


def test_what_was_found_and_what_to_doubt_come_before_the_results(make_run: MakeRun) -> None:
    page = body(make_run().parent)
    places = [page.index(text) for text in ("<li>found</li>", "<li>doubt</li>", "<h2>Results</h2>", "<h2>Samples</h2>")]
    assert places == sorted(places)


def test_a_run_that_was_killed_is_counted_and_listed(make_run: MakeRun) -> None:
    run = make_run()
    (run.parent / "killed").mkdir()
    (run.parent / "killed" / "config.json").write_text('{"variant": {"name": "uvit"}, "seed": 1}')
    page = body(run.parent)
    assert "<div><dt>Runs finished</dt><dd>1 of 2</dd></div>" in page
    assert section(page, "What is missing, and why") == [
        "<h3>Runs that did not finish</h3>",
        '<ul class="reasons">',
        "<li>uvit, seed 1 (killed): ended without a record, no checkpoint; --resume goes on</li>",
        "</ul>",
    ]


def test_many_variants_are_counted_in_the_title_and_named_below_it(make_run: MakeRun) -> None:
    for variant in ("a", "b", "c"):
        run = make_run(variant)
    lines = body(run.parent).splitlines()
    assert lines[1:4] == [
        '<p class="eyebrow">stbench report · 2026-01-02</p>',
        "<h1>3 variants on shapes</h1>",
        '<p class="lead">Compared: a, b, c.</p>',
    ]


def test_a_finished_run_has_no_section_about_what_is_missing(make_run: MakeRun) -> None:
    assert headings(body(make_run().parent)) == [
        "Before you compare",
        "Results",
        "Samples",
        "Quality in detail",
        "Costs",
        "Training",
        "Runs",
        "Protocol",
        "How it was measured",
    ]


def test_what_is_missing_is_listed_by_kind(make_run: MakeRun, failed: dict[str, Any]) -> None:
    make_run("a", 0, **{"counts.incomplete": ["aten::x", "aten::y"]})
    make_run("b", 1, **{"quality.fvd": None, "quality.refused": "64 clips are <too> few"})
    page = body(make_run("c", 2, **failed).parent)
    assert section(page, "What is missing, and why") == [
        "<h3>Runs that did not finish</h3>",
        '<ul class="reasons">',
        "<li>c, seed 2 (c-2): oom, out of memory at step 3</li>",
        "</ul>",
        "<h3>Scores refused</h3>",
        '<ul class="reasons">',
        "<li>b, seed 1 (b-1): 64 clips are &lt;too&gt; few</li>",
        "</ul>",
        "<h3>Incomplete counts</h3>",
        '<ul class="reasons">',
        "<li>a, seed 0 (a-0): operations not counted: aten::x, aten::y</li>",
        "</ul>",
    ]


def test_a_damaged_record_and_a_copied_run_are_listed_beside_the_others(make_run: MakeRun) -> None:
    run = make_run("a")
    shutil.copytree(run, run.parent / "copy")
    (run.parent / "damaged").mkdir()
    (run.parent / "damaged" / "result.json").write_text("{")
    lines = section(body(run.parent), "What is missing, and why")
    assert lines[0] == "<h3>Files that cannot be read</h3>"
    assert lines[2].startswith(f"<li>{run.parent}/damaged/result.json: not valid JSON")
    assert lines[4:] == [
        "<h3>Copies of runs, counted once</h3>",
        '<ul class="reasons">',
        f"<li>{run.parent}/copy</li>",
        "</ul>",
    ]


def test_without_samples_the_page_says_so(make_run: MakeRun) -> None:
    assert section(body(make_run().parent), "Samples") == ['<p class="note">No run kept samples to show.</p>']


@pytest.mark.parametrize("several", [False, True])
def test_strips_stand_under_the_names_of_their_columns(several: bool, make_run: MakeRun) -> None:
    row = SampleRow("shapes-01-a", "latte1", "samples of <a>", "seed 0 · no FVD", STRIP)
    grids = [SampleGrid("shapes", ["circle", "square"], [row]), SampleGrid("clouds", [], [row])]
    lines = section(body(make_run().parent, grids if several else grids[:1]), "Samples")
    figure = [
        '<figure class="strip">',
        "<figcaption><strong>latte1</strong><span>seed 0 · no FVD</span></figcaption>",
        "<picture>",
        '<source media="(prefers-reduced-motion: reduce)" srcset="data:image/png;base64,c3RpbGw=">',
        '<img src="data:image/webp;base64,bW92aW5n" alt="Moving samples of &lt;a&gt;, by column: circle, square" '
        'width="160" height="80">',
        "</picture>",
        "</figure>",
    ]
    names = ['<div class="strip-classes">', '<ul class="classes">', "<li>circle</li>", "<li>square</li>", "</ul>"]
    first = ['<div class="strips">', *names, "</div>", *figure, "</div>"]
    second = ['<div class="strips">', *(line.replace(", by column: circle, square", "") for line in figure), "</div>"]
    assert lines[0].startswith('<p class="note">Real clips first, then a run of every')
    assert lines[1:] == (["<h3>shapes</h3>", *first, "<h3>clouds</h3>", *second] if several else first)


def test_plots_carry_their_content_in_words_and_missing_ones_are_said(make_run: MakeRun) -> None:
    plots = [Plot("loss", "loss", "a: from 3 to <1>", Figure(), "at <equal> steps")]
    page = body(make_run().parent, plots=plots, missing=["No plot of FVD & co."])
    lines = section(page, TRADE_OFFS)
    assert lines[1:3] == ['<div class="plots">', '<figure role="img" aria-label="a: from 3 to &lt;1&gt;">']
    assert lines[-3:] == ["<figcaption>at &lt;equal&gt; steps</figcaption>", "</figure>", "</div>"]
    assert section(page, "What is missing, and why") == [
        "<h3>Plots that could not be drawn</h3>",
        '<ul class="reasons">',
        "<li>No plot of FVD &amp; co.</li>",
        "</ul>",
    ]
    assert TRADE_OFFS not in headings(body(make_run().parent))


def test_one_protocol_is_unfolded_and_several_are_not(make_run: MakeRun) -> None:
    alone = section(body(make_run("a").parent), "Protocol")
    assert alone[:4] == [
        '<p class="note">Scores may be compared only under one protocol: equal hash, equal conditions.</p>',
        '<details open="">',
        "<summary>protocol-a<span>smoke</span></summary>",
        '<dl class="fields">',
    ]
    assert "<dt>num_sampling_steps</dt><dd>10</dd>" in alone
    both = section(body(make_run("b", **{"quality.protocol_hash": "other"}).parent), "Protocol")
    assert [line for line in both if "details" in line] == ["<details>", "</details>"] * 2


def test_how_a_run_was_measured(make_run: MakeRun) -> None:
    lines = section(body(make_run("latte1", 3).parent), "How it was measured")
    assert lines[1:7] == [
        "<details>",
        "<summary>latte1, seed 3 (latte1-3)<span>Test CPU</span></summary>",
        '<dl class="fields">',
        "<dt>repeat it with</dt><dd>stbench run variant=latte1 variant.size=S dataset=shapes dataset.image_size=16 "
        "dataset.num_frames=4 preset=demo train.steps=40 train.batch_size=2 protocol=smoke precision=float32 "
        "seed=3</dd>",
        "<dt>created</dt><dd>2026-01-02T03:04:05+00:00</dd>",
        "<dt>config_hash</dt><dd>hash-of-latte1-3</dd>",
    ]
    names = re.findall(r"<dt>([^<]+)</dt>", "\n".join(lines))
    assert {"protocol_hash", "machine.cores", "software.torch", "config.train.steps"} <= set(names)
    assert "machine.gpu" not in names  # what has no value is left out


def test_counts_of_papers_stand_beside_the_executed_ones(make_run: MakeRun) -> None:
    make_run("a", **{"counts.conventions": {"thop": 5572.695048}, "counts.convention_notes": ["what it leaves out"]})
    make_run("b", **{"counts.conventions": {"thop": 1.0}, "counts.convention_notes": ["what it leaves out"]})
    lines = section(body(make_run("c").parent), "Counts as papers print them")
    cells = re.findall(r'(?:<span>|"number">)([^<]+)<', "\n".join(lines))
    assert cells == ["executed, one clip (GMACs)", "thop (G)", "a", "1.500", "5572.695", "b", "1.500", "1.000"]
    assert lines[-1] == '<p class="note">what it leaves out</p>'
    assert sum("what it leaves out" in line for line in lines) == 1
