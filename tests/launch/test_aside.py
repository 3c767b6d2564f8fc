"""A call in another process gives what it would give here."""

from __future__ import annotations

import os
import signal

import pytest

from stbench.errors import StbenchError
from stbench.launch.aside import call_aside
from stbench.settings.components import CannotBuild


def own_process(*numbers: int) -> tuple[int, int]:
    return os.getpid(), sum(numbers)


def refuse() -> None:
    raise CannotBuild("variant", "it has no forward")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_call_is_made_in_another_process() -> None:
    process, total = call_aside(own_process, 1, 2)
    assert process != os.getpid()
    assert total == 3


@pytest.mark.parametrize(
    ("function", "told"), [(refuse, "^it has no forward$"), (die, "^die: its process ended with status -9$")]
)
def test_what_goes_wrong_there_is_told_here(function: object, told: str) -> None:
    with pytest.raises(StbenchError, match=told):
        call_aside(function)  # type: ignore[arg-type]
