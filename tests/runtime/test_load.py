"""The share of waiting, from counters that the test writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stbench.runtime import load
from stbench.runtime.load import WaitedShare, load_average


@pytest.fixture
def threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(load, "THREADS", tmp_path)
    return tmp_path


def count(threads: Path, thread: int, ran: int, waited: int) -> None:
    (threads / str(thread)).mkdir(exist_ok=True)
    (threads / str(thread) / "schedstat").write_text(f"{ran} {waited} 7\n")


def test_share_of_all_threads_since_the_block_began(threads: Path) -> None:
    count(threads, 1, ran=100, waited=900)
    with WaitedShare() as share:
        count(threads, 1, ran=100 + 40, waited=900 + 10)
        count(threads, 2, ran=35, waited=15)  # begun meanwhile
    assert share.value == 25 / 100


def test_a_thread_that_ended_is_left_out(threads: Path) -> None:
    count(threads, 1, ran=100, waited=900)
    count(threads, 2, ran=0, waited=0)
    with WaitedShare() as share:
        (threads / "1" / "schedstat").unlink()
        count(threads, 2, ran=9, waited=1)
    assert share.value == 0.1


@pytest.mark.parametrize("text", [None, "", "0 0 0\n"])
def test_none_where_nothing_is_counted(threads: Path, text: str | None) -> None:
    if text is not None:
        (threads / "1").mkdir()
        (threads / "1" / "schedstat").write_text(text)
    with WaitedShare() as share:
        pass
    assert share.value is None


def test_none_where_the_system_has_no_counters(threads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "THREADS", threads / "missing")
    with WaitedShare() as share:
        pass
    assert share.value is None


def test_the_system_s_load_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 2.0, 3.0))
    assert load_average() == 1.5

    def untold() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", untold)
    assert load_average() is None
