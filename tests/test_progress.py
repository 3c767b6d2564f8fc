"""Progress: shown on standard error, with the count, the note, and what was done before."""

from __future__ import annotations

import pytest

from stbench.progress import console, progress_bar


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns that draws no colours."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


def last_line(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words of the bar as it stands at the end; what it left on standard output is nothing."""
    out, err = capsys.readouterr()
    assert out == ""
    return [word for word in err.splitlines()[-1].split() if not set(word) <= set("━╸╺-:0123456789")]


def test_a_bar_that_was_begun_before(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("training", total=10, done=4) as advance:
        advance()
        advance(2, note="loss 0.25")
        advance(note="loss 0.125")
    assert last_line(capsys) == ["training", "8/10", "loss", "0.125"]


def test_a_note_stays_until_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("sampling", total=3) as advance:
        advance(note="first")
        advance(2)
    assert last_line(capsys) == ["sampling", "3/3", "first"]


def test_an_error_inside_ends_the_bar_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), progress_bar("decoding", total=3) as advance:
        advance()
        raise ValueError("broken")
    assert last_line(capsys) == ["decoding", "1/3"]


def test_messages_go_to_standard_error_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("resumed at step 3 of run-1")
    assert capsys.readouterr() == ("", "resumed at step 3 of run-1\n")
