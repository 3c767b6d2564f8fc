"""The report as a whole: complete, self-contained, safe to show around, and made without torch."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stbench.reports.report import write_report

MakeRun = Callable[..., Path]
HOSTILE = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Collects a page's tags, addresses, unclosed elements and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.images_without_alt = 0
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)
        values = dict(attributes)
        self.addresses += [value or "" for key, value in attributes if key in ("src", "href", "srcset", "xlink:href")]
        self.images_without_alt += tag == "img" and not values.get("alt")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attributes if key in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture(scope="module")
def report(
    run_maker: Callable[[Path], MakeRun], failed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A report on two seeds of latte1, one of latte2 and one that ran out of memory."""
    folder = tmp_path_factory.mktemp("report")
    make_run = run_maker(folder)
    make_run("latte1", 0, 100.0)
    make_run("latte1", 1, 110.0)
    make_run("latte2", 0, 150.0)
    run = make_run("latte2", 1, **failed)
    return write_report([run.parent], folder / "report").index.parent


def test_report_is_complete(report: Path) -> None:
    assert sorted(str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()) == [
        "index.html",
        *sorted(
            f"plots/{name}.{kind}"
            for name in (
                "fvd-shapes3d-16-over-training",
                "fvd-shapes3d-vs-gmacs",
                "fvd-shapes3d-vs-memory",
                "fvd-shapes3d-vs-params",
                "fvd-shapes3d-vs-train-step",
                "loss",
            )
            for kind in ("png", "svg")
        ),
        "runs.csv",
        "runs.md",
        "runs.tex",
        "samples/shapes-00-real.webp",
        "samples/shapes-01-latte1-0.webp",
        "samples/shapes-02-latte2-0.webp",
        "samples/shapes-03-latte1-1.webp",
        "variants.csv",
    ]


def test_page_says_what_matters(report: Path) -> None:
    page = Page((report / "index.html").read_text())
    assert page.open == []
    for words in (
        "latte1 and latte2 on shapes",
        "3 of 4",
        "Lowest FVD[shapes3d]: latte1 on shapes, 105 (95 % interval 41.47 to 168.5 over 2 seeds).",
        "Next is latte2 at 150; the order is undecided: ",
        "1 of 4 runs did not finish; their reasons are below.",
        "latte2, seed 1 (latte2-1): oom, out of memory at step 3",
        "protocol-a",
        "num_sampling_steps",
        "Test CPU",
        "seed 0 · FVD[shapes3d] 100",
    ):
        assert words in page.text
    assert page.tags.count("img") == 4  # real clips and three runs
    assert page.tags.count("h1") == 1


def test_without_an_fvd_variants_are_ranked_by_kvd_and_never_by_what_rises(make_run: MakeRun, tmp_path: Path) -> None:
    refused = {"quality.fvd": None, "quality.refused": "too few clips", "quality.inception_score": 60.5}
    run = make_run("latte1", **refused)
    text = Page(write_report([run], tmp_path / "report").index.read_text()).text
    assert "Lowest KVD[shapes3d]: latte1" in text
    assert "Lowest IS" not in text


def test_page_asks_the_network_for_nothing(report: Path) -> None:
    text = (report / "index.html").read_text()
    page = Page(text)
    assert page.addresses
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "default-src 'none'" in html.unescape(text)
    assert not re.search(r"@import|url\((?!#)", text)
    assert page.images_without_alt == 0


def test_hostile_names_are_escaped(make_run: MakeRun, tmp_path: Path) -> None:
    changes = {"run_id": HOSTILE, "config.dataset.name": HOSTILE, "machine.cpu": HOSTILE, "quality.refused": HOSTILE}
    run = make_run(HOSTILE, **changes, **{"quality.detector": HOSTILE})
    page = Page(write_report([run], tmp_path / "report").index.read_text())
    assert page.tags.count("script") == 1  # the page's own
    assert HOSTILE in page.text


def test_failed_rows_are_in_every_table(report: Path) -> None:
    assert "oom: out of memory at step 3" in (report / "runs.md").read_text()
    assert "oom,out of memory at step 3" in (report / "runs.csv").read_text()
    assert "1 finished, 1 oom" in (report / "variants.csv").read_text()


def test_only_failed_runs_make_a_report(make_run: MakeRun, failed: dict[str, Any], tmp_path: Path) -> None:
    run = make_run(**failed)
    (run / "loss.csv").unlink()
    made = write_report([run], tmp_path / "report")
    text = Page(made.index.read_text()).text
    assert [list((made.index.parent / name).iterdir()) for name in ("plots", "samples")] == [[], []]
    assert "No plot of training loss" in text
    assert "No run kept samples to show." in text


def test_refused_scores_give_their_reason(make_run: MakeRun, tmp_path: Path) -> None:
    refused = "64 clips are too few for FVD on 400 features"
    run = make_run(**{"quality.fvd": None, "quality.refused": refused})
    text = Page(write_report([run], tmp_path / "report").index.read_text()).text
    assert f"latte1, seed 0 (latte1-0): {refused}" in text
    assert "Lowest KVD[shapes3d]" in text


def test_later_report_replaces_an_earlier_one(make_run: MakeRun, failed: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "report"
    write_report([make_run("latte1", folder="first")], out)
    first = sorted(path.name for path in (out / "samples").iterdir())
    write_report([make_run("latte2", folder="later", **failed)], out)
    assert first == ["shapes-00-real.webp", "shapes-01-latte1-0.webp"]
    assert list((out / "samples").iterdir()) == []


def test_damaged_files_of_a_run_are_listed_and_stop_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (run / "samples.npz").write_bytes(b"PK")
    (run / "loss.csv").write_bytes(b"\xff")
    report = write_report([run], tmp_path / "report")
    text = Page(report.index.read_text()).text
    assert [reason.split(": ")[0] for reason in report.content.unread] == [f"{run}/loss.csv", f"{run}/samples.npz"]
    assert "Files that cannot be read" in text and "samples.npz: " in text


def test_a_paper_gets_the_results(report: Path) -> None:
    text = (report / "runs.tex").read_text()
    assert "latte1 & 105 [41.47, 168.5] & 32.48 & 1.500 & 30 & 2 (seeds 0, 1) \\\\\n" in text


def test_records_and_reports_need_no_torch(make_run: MakeRun, tmp_path: Path, repository: Path) -> None:
    run = make_run()
    script = (
        "import sys; from stbench.reports.comparison.compare import compare; "
        "from stbench.reports.report import write_report; "
        f"write_report([{str(run)!r}], {str(tmp_path / 'report')!r}); "
        f"compare({str(run)!r}, {str(run)!r}, {str(tmp_path / 'compare')!r}); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_counts_of_papers_stand_beside_the_executed_ones(make_run: MakeRun, tmp_path: Path) -> None:
    published = {"counts.conventions": {"thop_batch3": 5572.695048}, "counts.convention_notes": ["what it leaves out"]}
    make_run("latte1", **published)
    write_report([make_run("unet").parent], tmp_path / "report")
    text = Page((tmp_path / "report" / "index.html").read_text()).text
    section = text[text.index("Counts as papers print them") :]
    for expected in ("thop_batch3 (G)", "5572.695", "1.500", "what it leaves out"):
        assert expected in section
