"""Signals: heeded at once, held back for a step, and a second one ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from stbench.signals import ENDING, Interrupted, deferred, heeded


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", ENDING)
def test_a_signal_is_heeded_at_once(signum: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in ENDING]
    with pytest.raises(Interrupted) as caught, heeded():
        send(signum)
        pytest.fail("went on")
    assert str(caught.value) == f"stopped by {signum.name}"
    assert caught.value.exit_status == 128 + signum
    assert [signal.getsignal(each) for each in ENDING] == before


def test_schedulers_and_limits_are_heeded() -> None:
    """All that end a process by default and can be sent by `scancel`, `sbatch --signal`, `ulimit -t` or a terminal."""
    assert {signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGTERM, signal.SIGHUP, signal.SIGINT} <= {*ENDING}


def test_a_step_comes_to_its_end() -> None:
    done = []
    with pytest.raises(Interrupted, match=r"^stopped by SIGTERM$"), heeded():
        with deferred():
            send(signal.SIGTERM)
            done.append("step")
        pytest.fail("went on")
    assert done == ["step"]
    with heeded(), deferred():
        pass  # what came before is forgotten


def test_what_goes_wrong_in_a_step_goes_first() -> None:
    with pytest.raises(ValueError, match="broken"), heeded(), deferred():
        send(signal.SIGTERM)
        raise ValueError("broken")
    with heeded(), deferred():
        pass


def test_a_second_signal_ends_the_process_within_the_step() -> None:
    code = (
        "import os\nfrom stbench.signals import *\nwith heeded(), deferred():\n"
        " os.kill(os.getpid(), 15); print('first', flush=True); os.kill(os.getpid(), 2); print('second', flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "first\n")


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with heeded():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            send(signal.SIGHUP)  # and nothing is raised
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_are_left_alone() -> None:
    ended = []

    def work() -> None:
        with heeded(), deferred():
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]
